// Audio on its way in: recordings of the microphone, and files; what the server may not read becomes WAV here.

import { announce, button, el } from './dom.js';
import { clock } from './format.js';

export const RATE = 16000;
const READ_BY_THE_SERVER = /\.(wav|flac|mp3|og[ga]|opus|aiff?|au|caf|webm)$/i;
const OTHER = /\.(m4a|aac|mp4|mov|wma|amr)$/i;
const MAX_DECODED_BYTES = 64e6;

export const isAudio = (file) => /^(audio|video)\//.test(file.type) || READ_BY_THE_SERVER.test(file.name) || OTHER.test(file.name);

/** 16 kHz mono WAV of anything the browser can decode. */
async function toWav(blob) {
  const decoded = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await blob.arrayBuffer());
  const mono = new Float32Array(decoded.length);
  for (let channel = 0; channel < decoded.numberOfChannels; channel += 1) {
    decoded.getChannelData(channel).forEach((sample, i) => { mono[i] += sample / decoded.numberOfChannels; });
  }
  return wav([pcm(mono)]);
}

/** Samples in -1 ... 1 as 16-bit PCM. */
const pcm = (samples) => Int16Array.from(samples, (sample) => Math.round(Math.max(-1, Math.min(1, sample)) * 32767));

/** A WAV file of 16-bit PCM. @param {Int16Array[]} parts */
export function wav(parts) {
  const data = new Blob(parts);
  const header = new DataView(new ArrayBuffer(44));
  ['RIFF', 36 + data.size, 'WAVE', 'fmt ', 16, 0x10001, RATE, RATE * 2, 0x100002, 'data', data.size].forEach((word, i) => {
    const letters = [...String(word)].map((letter) => letter.charCodeAt(0));
    if (typeof word === 'number') header.setUint32(i * 4, word, true);
    else letters.forEach((letter, k) => header.setUint8(i * 4 + k, letter));
  });
  return new Blob([header, data], { type: 'audio/wav' });
}

/** What is uploaded for a file: itself if the server reads it or the browser cannot, or if it is too long to be decoded. */
export async function forUpload(file) {
  if (READ_BY_THE_SERVER.test(file.name) || file.size > MAX_DECODED_BYTES) return file;
  return toWav(file).catch(() => file);
}

/** Open a microphone or camera. @throws {Error} with one line for the user. */
export async function openDevice(noun, constraints) {
  if (!navigator.mediaDevices) {
    throw new Error(`The browser allows a ${noun} only on https or localhost. Open this page as https (start the server with `
      + '--tls-cert and --tls-key), or on the machine itself as http://localhost. Files can be added either way.');
  }
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch ({ name, message }) {
    if (name === 'NotAllowedError') throw new Error(`The ${noun} is blocked. Allow it for this page in the browser’s site settings.`);
    if (name === 'NotFoundError' || name === 'OverconstrainedError') throw new Error(`No ${noun} was found.`);
    throw new Error(`The ${noun} cannot be used: ${message}`);
  }
}

export const release = (stream) => stream.getTracks().forEach((track) => track.stop());

/**
 * Open the microphone: `onBlock(pcm, level)` gets 0.1 s at RATE, and their level in 0 ... 1.
 * @returns the device: `isPaused` may be set, `onended` is called if it goes away, `stop()` closes it
 * @throws {Error} with one line for the user
 */
export async function listen(onBlock) {
  const context = new AudioContext();
  try {
    await context.audioWorklet?.addModule(new URL('capture.js', import.meta.url)); // Where it is absent, no device is allowed.
    const stream = await openDevice('microphone', { audio: { channelCount: 1 } });
    const device = { isPaused: false };
    device.stop = () => {
      device.isPaused = true;
      release(stream);
      if (context.state !== 'closed') context.close();
    };
    const node = new AudioWorkletNode(context, 'capture', { channelCount: 1, channelCountMode: 'explicit' });
    node.port.onmessage = ({ data }) => device.isPaused || onBlock(pcm(data), loudness(data));
    context.createMediaStreamSource(stream).connect(node).connect(context.destination); // Its output is silence.
    stream.getTracks()[0].onended = () => device.onended?.();
    return device;
  } catch (error) {
    context.close();
    throw error;
  }
}

/** Root mean square on a scale of 60 dB. */
const loudness = (samples) => 1 + Math.log10(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length + 1e-9) / 6;

/**
 * Record the microphone, with the time and the level shown in `container`, until the user is done.
 * @returns {Promise<File | null>} a WAV, or null if the user discarded it
 * @throws {Error} with one line for the user
 */
export async function record(container) {
  const blocks = [];
  const time = el('span', {});
  const meter = el('meter', { max: 1, 'aria-label': 'Level' });
  const device = await listen((block, level) => {
    time.textContent = clock(blocks.push(block) / 10);
    meter.value = level;
  });
  announce('Recording');
  const isKept = await new Promise((resolve) => {
    const done = button('Done', () => resolve(true), { class: 'primary' });
    container.replaceChildren(time, meter, button('Discard', () => resolve(false)), done);
    container.onkeydown = ({ key }) => {
      if (key === 'Escape') resolve(false);
    };
    done.focus();
  });
  device.stop();
  container.replaceChildren();
  return isKept ? new File([wav(blocks)], 'recording.wav', { type: 'audio/wav' }) : null;
}
