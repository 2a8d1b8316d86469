// Audio on its way in: recordings of the microphone, and files; what the server may not read becomes WAV here.

import { announce, button, el } from './dom.js';
import { clock } from './format.js';

const RATE = 16000;
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
  return wav(mono);
}

/** Samples in -1 ... 1 as a WAV file of 16-bit PCM. */
function wav(samples) {
  const size = samples.length * 2;
  const header = new DataView(new ArrayBuffer(44));
  ['RIFF', 36 + size, 'WAVE', 'fmt ', 16, 0x10001, RATE, RATE * 2, 0x100002, 'data', size].forEach((word, i) => {
    const letters = [...String(word)].map((letter) => letter.charCodeAt(0));
    if (typeof word === 'number') header.setUint32(i * 4, word, true);
    else letters.forEach((letter, k) => header.setUint8(i * 4 + k, letter));
  });
  const pcm = new DataView(new ArrayBuffer(size));
  samples.forEach((sample, i) => pcm.setInt16(i * 2, Math.round(Math.max(-1, Math.min(1, sample)) * 32767), true));
  return new Blob([header, pcm], { type: 'audio/wav' });
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
 * Record the microphone, with the time and the level shown in `container`, until the user is done.
 * @returns {Promise<File | null>} a WAV, or null if the user discarded it
 * @throws {Error} with one line for the user
 */
export async function record(container) {
  const stream = await openDevice('microphone', { audio: { channelCount: 1 } });
  const recorder = new MediaRecorder(stream);
  const chunks = [];
  recorder.ondataavailable = ({ data }) => chunks.push(data);
  recorder.start();
  announce('Recording');
  const isKept = await recordingBar(container, stream);
  await new Promise((resolve) => {
    recorder.onstop = resolve;
    recorder.stop();
  });
  release(stream);
  return isKept ? new File([await toWav(new Blob(chunks))], 'recording.wav', { type: 'audio/wav' }) : null;
}

async function recordingBar(container, stream) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const level = el('meter', { max: 1, 'aria-label': 'Level' });
  const time = el('span', {});
  const began = performance.now();
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    level.value = 1 + Math.log10(power + 1e-9) / 6; // root mean square on a scale of 60 dB
    time.textContent = clock((performance.now() - began) / 1000);
  }, 80);
  const isKept = await new Promise((resolve) => {
    const done = button('Done', () => resolve(true), { class: 'button primary' });
    container.replaceChildren(time, level, button('Discard', () => resolve(false)), done);
    container.onkeydown = ({ key }) => key === 'Escape' && resolve(false);
    container.hidden = false;
    done.focus();
  });
  clearInterval(timer);
  context.close();
  container.hidden = true;
  return isKept;
}
