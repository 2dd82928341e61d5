"""Networks everyone knows, in the notation, to check tench against what others counted."""


def _vgg16() -> str:
    stages = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    rows = ["[vgg16, origin=classical]", "ImageInput, 224x224"]
    for channels, convolutions in stages:
        rows += [f"Conv, 3x3, {channels}, norm=none"] * convolutions + ["MaxPool, 2x2"]
    rows += ["FullyConnected, 4096", "Dropout, 0.5", "FullyConnected, 4096", "Dropout, 0.5", "FullyConnected, 1000", "SoftMax"]
    return "\n".join([*rows, "ClassOutput, 1000"])


def _resnet18() -> str:
    rows = ["[resnet18, origin=classical]", "ImageInput, 224x224", "Conv, 7x7, 64, stride=2, bias=no", "MaxPool, 3x3, stride=2, padding=1"]
    for stage, channels in enumerate((64, 128, 256, 512)):
        for block in range(2):
            thins = stage > 0 and block == 0
            rows.append("Residual, shortcut=projection:" if thins else "Residual:")
            rows.append(f"  Conv, 3x3, {channels}, stride={2 if thins else 1}, bias=no")
            rows.append(f"  Conv, 3x3, {channels}, bias=no, activation=none")
            rows.append("ReLU")
    return "\n".join([*rows, "GlobalAvgPool", "FullyConnected, 1000", "SoftMax", "ClassOutput, 1000"])


VGG16 = _vgg16()
"""Simonyan and Zisserman 2015, configuration D."""
RESNET18 = _resnet18()
"""He et al. 2016."""

EVERY_KIND = """\
[every_kind]
ImageInput, 16x12
Conv, 3x3, 8
LocalResponseNorm, 3, alpha=0.001
MaxPool, 3x3, stride=2, padding=1
Residual:
  BatchNorm
  ReLU
  Conv, 3x3, 8, groups=2, activation=none
Residual, shortcut=projection:
  Conv, 3x3, 12, stride=2
  Concat:
    Conv, 1x1, 4, activation=none
    Branch:
      Conv, 1x3, 2, norm=none
      Conv, 3x1, 6, bias=no, activation=none
Concat, name=sides:
  AvgPool, 3x3, stride=1, padding=1
  Branch:
    Conv, 1x1, 3
    Scale, 0.5
  Inception, 1x1=2, 3x3_reduce=2, 3x3=3, 5x5_reduce=1, 5x5=2, pool=2
Resize, 5x7
Concat:
  GlobalMaxPool
  GlobalAvgPool
FullyConnected, 7
Dropout, 0.25
FullyConnected, 5
Scale, 0.1
SoftMax
ClassOutput, 5
"""
"""Every kind of the notation at least once, small."""
