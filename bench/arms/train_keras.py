"""The same epochs in Keras on TensorFlow: image_dataset_from_directory, random affine layers, SGD."""

import os
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import task
import tensorflow as tf

from tench.networks import layers as rows
from tench.networks.table import builtin_table

options = task.parser(__doc__ or "").parse_args()


def add(row: object, x: object) -> object:
    """The Keras layers of one row of a table."""
    layer = keras.layers
    match row:
        case rows.Conv():
            x = layer.Conv2D(row.channels, row.kernel, row.stride, "same", groups=row.groups, use_bias=row.bias)(x)
            x = layer.BatchNormalization()(x) if row.norm == "batch" else x
            return layer.ReLU()(x) if row.activation == "relu" else x
        case rows.MaxPool():
            return layer.MaxPooling2D(row.kernel, row.stride, "same" if row.padding != (0, 0) or row.ceil else "valid")(x)
        case rows.AvgPool():
            return layer.AveragePooling2D(row.kernel, row.stride)(x)
        case rows.GlobalAvgPool():
            return layer.GlobalAveragePooling2D(keepdims=True)(x)
        case rows.FullyConnected():
            return layer.Dense(row.units, "relu" if row.activation == "relu" else None)(layer.Flatten()(x))
        case rows.Dropout():
            return layer.Dropout(row.share)(x)
        case rows.LocalResponseNorm():
            return layer.Lambda(lambda v: tf.nn.local_response_normalization(v, row.size // 2, row.k, row.alpha / row.size, row.beta))(x)
        case rows.Inception():
            return layer.Concatenate()([add(branch, x) for branch in row.concat().rows])
        case rows.Branch():
            for inner in row.rows:
                x = add(inner, x)
            return x
        case rows.SoftMax() | rows.ClassOutput():
            return x
    raise SystemExit(f"this benchmark has no Keras layer for {type(row).__name__}")


side = options.size
data = keras.utils.image_dataset_from_directory(
    options.folder / "train", image_size=(side, side), batch_size=options.batch, label_mode="int", verbose=False
)
classes = len(data.class_names)
moved = keras.Sequential(
    [
        keras.layers.RandomTranslation(task.SHIFT, task.SHIFT, fill_mode="constant"),
        keras.layers.RandomZoom(0.1, 0.1, fill_mode="constant"),
        keras.layers.RandomFlip("horizontal"),
    ]
)
batches = data.map(lambda x, y: (moved(x, training=True), y), num_parallel_calls=tf.data.AUTOTUNE)
batches = batches.filter(lambda x, y: tf.shape(x)[0] == options.batch).prefetch(tf.data.AUTOTUNE)
inputs = keras.Input((side, side, 3))
x = keras.layers.Rescaling(1 / 64, -2)(inputs)
for row in builtin_table(options.network).resized(side).with_classes(classes).rows[1:]:
    x = add(row, x)
model = keras.Model(inputs, x)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.SGD(task.RATE, momentum=task.MOMENTUM, weight_decay=task.DECAY), loss)


class Clock(keras.callbacks.Callback):
    """Seconds of every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.seconds.append(time.perf_counter() - self.began)


clock = Clock()
model.fit(batches, epochs=options.epochs, verbose=0, callbacks=[clock])
n = len(data.file_paths) // options.batch * options.batch
task.report(clock.seconds, n, versions=f"keras {keras.__version__}, tensorflow {tf.__version__}")
