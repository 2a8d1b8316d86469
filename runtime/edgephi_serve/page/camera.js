// The camera: a live view in a dialog, front or back, and one image out of it.

import { deviceError, whyNoDevice } from './audio.js';
import { byId, el, icon } from './dom.js';
import { readFrame } from './images.js';

/**
 * Let the user take an image.
 * @returns {Promise<object | null>} an image as `readImage` gives it, or null
 * @throws {Error} with one line for the user
 */
export async function takeImage() {
  const why = whyNoDevice('camera');
  if (why) throw new Error(why);
  let facing = 'environment';
  let stream = await open(facing);
  const video = el('video', { autoplay: true, muted: true, playsInline: true, srcObject: stream, 'aria-label': 'Camera' });
  const dialog = byId('camera');
  const turn = async () => {
    facing = facing === 'environment' ? 'user' : 'environment';
    stop(stream);
    stream = await open(facing);
    video.srcObject = stream;
  };
  const image = await new Promise((resolve) => {
    const close = () => dialog.close();
    const take = async () => {
      resolve(await readFrame(video));
      close();
    };
    dialog.replaceChildren(
      el('div', { class: 'head' }, el('h2', { id: 'camera-title' }, 'Camera'),
        el('button', { type: 'button', class: 'icon', 'aria-label': 'Close', onclick: close }, icon('close'))),
      video,
      el('div', { class: 'foot' }, el('button', { type: 'button', class: 'button', onclick: turn }, 'Other camera'),
        el('button', { type: 'button', class: 'button primary', onclick: take }, 'Take image')),
    );
    dialog.onclose = () => resolve(null);
    dialog.showModal();
  });
  stop(stream);
  dialog.replaceChildren();
  return image;
}

async function open(facing) {
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: facing, width: { ideal: 1920 }, height: { ideal: 1440 } } });
  } catch (error) {
    throw new Error(deviceError(error, 'camera'));
  }
}

const stop = (stream) => stream.getTracks().forEach((track) => track.stop());
