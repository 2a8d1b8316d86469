// Audio on its way in: recordings of the microphone and files; what the server may not read becomes WAV here.

const RATE = 16000;
const READ_BY_THE_SERVER = /\.(wav|flac|mp3|ogg|oga|opus|aiff?|au|caf|webm|mka|mkv)$/i;
const MAX_DECODED_BYTES = 64e6;

/** 16 kHz mono WAV of anything the browser can decode. @throws {Error} if it cannot. */
export async function toWav(blob) {
  const decoded = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await blob.arrayBuffer());
  return wav(mono(decoded));
}

function mono(buffer) {
  const mixed = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
    const samples = buffer.getChannelData(channel);
    for (let i = 0; i < mixed.length; i += 1) mixed[i] += samples[i] / buffer.numberOfChannels;
  }
  return mixed;
}

/** Samples in -1 ... 1 as a WAV file of 16-bit PCM. */
export function wav(samples) {
  const view = new DataView(new ArrayBuffer(44 + samples.length * 2));
  const write = (at, text) => [...text].forEach((char, i) => view.setUint8(at + i, char.charCodeAt(0)));
  write(0, 'RIFF');
  view.setUint32(4, 36 + samples.length * 2, true);
  write(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, RATE, true);
  view.setUint32(28, RATE * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  write(36, 'data');
  view.setUint32(40, samples.length * 2, true);
  for (let i = 0; i < samples.length; i += 1) {
    view.setInt16(44 + i * 2, Math.round(Math.max(-1, Math.min(1, samples[i])) * 32767), true);
  }
  return new Blob([view], { type: 'audio/wav' });
}

/**
 * What is to be uploaded for a file: the file itself if the server reads its format, otherwise WAV. A file that is too
 * long to be decoded here, or that the browser cannot decode, goes as it is: the server says what it makes of it.
 */
export async function forUpload(file) {
  if (READ_BY_THE_SERVER.test(file.name) || file.size > MAX_DECODED_BYTES) return file;
  try {
    return await toWav(file);
  } catch {
    return file;
  }
}

/** How long a file plays, in seconds; null where the browser cannot say. */
export function duration(blob) {
  return new Promise((resolve) => {
    const url = URL.createObjectURL(blob);
    const player = new Audio();
    const end = (value) => {
      URL.revokeObjectURL(url);
      resolve(Number.isFinite(value) ? value : null);
    };
    player.preload = 'metadata';
    player.onloadedmetadata = () => end(player.duration);
    player.onerror = () => end(null);
    setTimeout(() => end(null), 3000);
    player.src = url;
  });
}

/** Why there is no microphone or camera here, in words for the user; null if there may be one. */
export function whyNoDevice(noun) {
  if (navigator.mediaDevices?.getUserMedia) return null;
  if (window.isSecureContext) return `This browser offers no ${noun}.`;
  return `The browser allows a ${noun} only on https or localhost. Open this page as https (start the server with `
    + '--tls-cert and --tls-key), or on the machine itself as http://localhost. Files can be added either way.';
}

/** What went wrong when the browser was asked for a device. */
export function deviceError(error, noun) {
  if (error.name === 'NotAllowedError') return `The ${noun} is blocked. Allow it for this page in the browser's site settings.`;
  if (error.name === 'NotFoundError' || error.name === 'OverconstrainedError') return `No ${noun} was found.`;
  if (error.name === 'NotReadableError') return `The ${noun} is in use by another program.`;
  return `The ${noun} cannot be used: ${error.message}`;
}

/** A recording of the microphone. `start` it, then `stop` it for a WAV, or `cancel`. */
export class Recorder {
  #chunks = [];

  async start() {
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    this.context = new AudioContext();
    this.analyser = this.context.createAnalyser();
    this.analyser.fftSize = 1024;
    this.context.createMediaStreamSource(this.stream).connect(this.analyser);
    this.recorder = new MediaRecorder(this.stream);
    this.recorder.ondataavailable = (event) => this.#chunks.push(event.data);
    this.recorder.start(1000);
    this.began = performance.now();
  }

  get seconds() {
    return (performance.now() - this.began) / 1000;
  }

  /** Loudness now, 0 ... 1: the root mean square on a scale of 60 dB. */
  get level() {
    const samples = new Float32Array(this.analyser.fftSize);
    this.analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    return Math.max(0, Math.min(1, 1 + Math.log10(power + 1e-9) / 6));
  }

  async stop() {
    const stopped = new Promise((resolve) => { this.recorder.onstop = resolve; });
    this.recorder.stop();
    await stopped;
    this.#release();
    return toWav(new Blob(this.#chunks, { type: this.recorder.mimeType }));
  }

  cancel() {
    if (this.recorder?.state !== 'inactive') this.recorder?.stop();
    this.#release();
  }

  #release() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.context?.close();
  }
}
