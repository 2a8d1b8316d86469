// Images on their way in: read, turned upright and scaled down in the browser, then sent as data: URLs.

// The model looks at no more than 36 crops of 448 x 448. A little more than that is sent, so that the server chooses the
// same grid as for the whole image.
const MAX_PIXELS = 40 * 448 * 448;
const MAX_SENT_BYTES = 8e6;
const SENT_AS_THEY_ARE = ['image/jpeg', 'image/png', 'image/webp'];

/** Bytes as a data: URL. */
export function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error('The file cannot be read.'));
    reader.readAsDataURL(blob);
  });
}

/**
 * @param {File} file
 * @returns {Promise<{url: string, name: string, detail: string}>}
 * @throws {Error} with one line for the user: the browser cannot decode it.
 */
export async function readImage(file) {
  const name = file.name || 'image';
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${name} is no image that this browser can read. Choose a JPEG, PNG or WebP file.`);
  }
  const pixels = bitmap.width * bitmap.height;
  let sent = file;
  if (pixels > MAX_PIXELS || file.size > MAX_SENT_BYTES || !SENT_AS_THEY_ARE.includes(file.type)) {
    sent = await encode(bitmap, Math.min(1, Math.sqrt(MAX_PIXELS / pixels)), file.type);
  }
  bitmap.close();
  return { url: await dataUrl(sent), name, detail: 'auto' };
}

/** Draw and encode: without loss where that stays small, for the sake of text in screenshots. */
async function encode(source, scale, type) {
  const width = Math.max(1, Math.round((source.width || source.videoWidth) * scale));
  const height = Math.max(1, Math.round((source.height || source.videoHeight) * scale));
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width, height });
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(source, 0, 0, width, height);
  const made = (format, quality) => new Promise((resolve) => { canvas.toBlob(resolve, format, quality); });
  if (type !== 'image/jpeg') {
    const lossless = await made('image/png');
    if (lossless && lossless.size <= MAX_SENT_BYTES) return lossless;
    context.globalCompositeOperation = 'destination-over';
    context.fillStyle = '#fff';
    context.fillRect(0, 0, width, height);
  }
  return made('image/jpeg', 0.92);
}

/** The image that a camera shows now. */
export async function readFrame(video) {
  return { url: await dataUrl(await encode(video, 1, 'image/jpeg')), name: 'camera.jpg', detail: 'auto' };
}
