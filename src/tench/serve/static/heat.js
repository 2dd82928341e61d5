// A heat map over its picture, in cividis, the report's colours: the colour-blind see them as others do.

/** From least to most (Nuñez, Anderton, Renslow 2018, PLOS ONE 13, e0199239); report/pictures.py has the same. */
const STOPS = [[0, 32, 76], [0, 58, 109], [87, 93, 109], [124, 123, 120], [175, 164, 114], [255, 233, 69]];
const LONGEST_PX = 520;
const KEPT_PX = 1040;

/** 256 colours, four bytes each as ImageData has them. */
export const COLOURS = (() => {
  const made = new Uint8ClampedArray(256 * 4);
  for (let value = 0; value < 256; value += 1) {
    const at = (value / 255) * (STOPS.length - 1);
    const low = Math.min(Math.floor(at), STOPS.length - 2);
    for (let channel = 0; channel < 3; channel += 1) {
      made[4 * value + channel] = STOPS[low][channel] + (at - low) * (STOPS[low + 1][channel] - STOPS[low][channel]);
    }
    made[4 * value + 3] = 255;
  }
  return made;
})();

function canvas(width, height) {
  const made = document.createElement("canvas");
  made.width = Math.max(1, Math.round(width));
  made.height = Math.max(1, Math.round(height));
  return made;
}

const pen = (on) => on.getContext("2d", { willReadFrequently: true });

/** A picture file as a canvas, upright and no larger than it is shown; null where the browser cannot read it (TIFF, for one). */
export async function opened(file) {
  try {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    const factor = Math.min(1, KEPT_PX / Math.max(bitmap.width, bitmap.height));
    const made = canvas(bitmap.width * factor, bitmap.height * factor);
    const context = pen(made);
    context.fillStyle = "#fff"; // what the networks see behind transparent pixels
    context.fillRect(0, 0, made.width, made.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, made.width, made.height);
    bitmap.close();
    return made;
  } catch {
    return null;
  }
}

/** A grey PNG at a data: address as a canvas. */
export async function grey(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  const made = canvas(image.naturalWidth, image.naturalHeight);
  pen(made).drawImage(image, 0, 0);
  return made;
}

/** The part of a picture of `width` x `height` that a network is given: { x, y, width, height }. */
export function part(width, height, crops) {
  if (!crops) return { x: 0, y: 0, width, height };
  const side = Math.min(width, height);
  return { x: (width - side) / 2, y: (height - side) / 2, width: side, height: side };
}

/** What the network is given, `px` x `px`, onto `target`. */
export function drawGiven(target, picture, px, crops) {
  target.width = target.height = px;
  const from = part(picture.width, picture.height, crops);
  const context = pen(target);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, from.x, from.y, from.width, from.height, 0, 0, px, px);
}

/**
 * The picture onto `target`, under `heat` where there is one: `strength`, 0 to 1, is the share of its colours. The picture goes grey
 * as the heat grows, so that its own colours are not taken for heat.
 */
export function drawHeat(target, picture, heat, strength, crops) {
  const source = picture ?? unseen();
  const factor = LONGEST_PX / Math.max(source.width, source.height);
  target.width = Math.round(source.width * factor);
  target.height = Math.max(1, Math.round(source.height * factor));
  const context = pen(target);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, target.width, target.height);
  if (!heat || strength <= 0) return;
  const place = part(target.width, target.height, crops);
  const [x, y] = [Math.round(place.x), Math.round(place.y)];
  const grown = canvas(place.width, place.height);
  const growing = pen(grown);
  growing.imageSmoothingQuality = "high";
  growing.drawImage(heat, 0, 0, grown.width, grown.height);
  const heats = growing.getImageData(0, 0, grown.width, grown.height).data;
  const shown = context.getImageData(x, y, grown.width, grown.height);
  blend(shown.data, heats, strength);
  context.putImageData(shown, x, y);
}

function blend(pixels, heats, strength) {
  const grey = Math.min(1, 2 * strength);
  for (let i = 0; i < pixels.length; i += 4) {
    const mean = (pixels[i] + pixels[i + 1] + pixels[i + 2]) / 3;
    const colour = 4 * heats[i];
    for (let channel = 0; channel < 3; channel += 1) {
      const below = pixels[i + channel] + grey * (mean - pixels[i + channel]);
      pixels[i + channel] = below + strength * (COLOURS[colour + channel] - below);
    }
  }
}

function unseen() {
  const made = canvas(LONGEST_PX, LONGEST_PX);
  const context = pen(made);
  context.fillStyle = "#777";
  context.fillRect(0, 0, made.width, made.height);
  return made;
}

/** The colours from little to much onto `target`. */
export function drawLegend(target) {
  target.width = 256;
  target.height = 1;
  pen(target).putImageData(new ImageData(COLOURS.slice(), 256, 1), 0, 0);
}
