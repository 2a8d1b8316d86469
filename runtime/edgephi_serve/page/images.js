// Images from files and the camera: upright and scaled down in the browser, then sent as data: URLs.

import { openDevice, release } from './audio.js';
import { button, el, openDialog } from './dom.js';

// The model looks at no more than 36 crops of 448 x 448. With a little more the server chooses the grid of the whole image.
const MAX_PIXELS = 40 * 448 * 448;
const MAX_BYTES = 8e6;
const SENT_AS_THEY_ARE = ['image/jpeg', 'image/png', 'image/webp'];

const dataUrl = (blob) => new Promise((resolve, reject) => {
	const reader = new FileReader();
	reader.onload = () => resolve(reader.result);
	reader.onerror = () => reject(reader.error);
	reader.readAsDataURL(blob);
});

export const base64 = async (blob) => (await dataUrl(blob)).split(',')[1];

const image = async (blob, name) => ({ url: await dataUrl(blob), name, detail: 'auto' });

export async function readImage(file) {
	const bitmap = await createImageBitmap(file).catch(() => {
		throw new Error(`${file.name} is no image that this browser can read. Choose a JPEG, PNG or WebP file.`);
	});
	const { width, height } = bitmap;
	const fits = width * height <= MAX_PIXELS && file.size <= MAX_BYTES && SENT_AS_THEY_ARE.includes(file.type);
	const sent = fits ? file : await encode(bitmap, width, height, file.type !== 'image/jpeg');
	bitmap.close();
	return image(sent, file.name || 'image');
}

// Draw on white and encode: without loss where that stays small, for the sake of text in screenshots.
async function encode(source, width, height, lossless) {
	const scale = Math.min(1, Math.sqrt(MAX_PIXELS / (width * height)));
	const canvas = el('canvas', { width: Math.ceil(width * scale), height: Math.ceil(height * scale) });
	const context = canvas.getContext('2d', { alpha: false });
	Object.assign(context, { imageSmoothingQuality: 'high', fillStyle: '#fff' });
	context.fillRect(0, 0, canvas.width, canvas.height);
	context.drawImage(source, 0, 0, canvas.width, canvas.height);
	const made = (type) => new Promise((resolve) => { canvas.toBlob(resolve, type, 0.92); });
	const png = lossless && await made('image/png');
	return png?.size <= MAX_BYTES ? png : made('image/jpeg');
}

const openCamera = (facingMode) => openDevice('camera', { video: { facingMode, width: { ideal: 1920 }, height: { ideal: 1440 } } });

export async function takeImage() {
	let facing = 'environment';
	let dialog;
	const video = el('video', { autoplay: true, muted: true, playsInline: true, srcObject: await openCamera(facing) });
	try {
		return await new Promise((resolve, reject) => {
			const turn = () => {
				facing = facing === 'environment' ? 'user' : 'environment';
				take.disabled = true;
				release(video.srcObject);
				openCamera(facing).then((stream) => { video.srcObject = stream; }, reject);
			};
			const shoot = async () => resolve(image(await encode(video, video.videoWidth, video.videoHeight, false), 'camera.jpg'));
			const take = button('Take image', shoot, '.primary', { disabled: true });
			video.onplaying = () => { take.disabled = false; };
			dialog = openDialog('Camera', 'box', video, el('div.row', button('Other camera', turn), take));
			dialog.addEventListener('close', () => resolve(null));
		});
	} finally {
		dialog.close();
		release(video.srcObject);
	}
}
