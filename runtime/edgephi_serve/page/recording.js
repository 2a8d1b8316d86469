// The bar that stands in for the controls while the microphone is recorded: time, loudness, done, discard.

import { Recorder, deviceError, whyNoDevice } from './audio.js';
import { announce, el } from './dom.js';
import { clock } from './format.js';

const BARS = 32;

/**
 * Record into `container` until the user is done.
 * @returns {Promise<Blob | null>} a WAV, or null if the user discarded it
 * @throws {Error} with one line for the user
 */
export async function record(container) {
  const why = whyNoDevice('microphone');
  if (why) throw new Error(why);
  const recorder = new Recorder();
  try {
    await recorder.start();
  } catch (error) {
    recorder.cancel();
    throw new Error(deviceError(error, 'microphone'));
  }
  announce('Recording');
  const time = el('span', { class: 'figure' }, '0:00');
  const bars = Array.from({ length: BARS }, () => el('span'));
  const meter = el('span', { class: 'meter', 'aria-hidden': 'true' }, bars);
  const beat = setInterval(() => {
    time.textContent = clock(recorder.seconds);
    for (let i = 0; i < BARS - 1; i += 1) bars[i].style.height = bars[i + 1].style.height;
    bars[BARS - 1].style.height = `${Math.max(8, recorder.level * 100)}%`;
  }, 80);
  const done = await choice(container, [el('span', { class: 'dot', 'aria-hidden': 'true' }), time, meter]);
  clearInterval(beat);
  container.hidden = true;
  container.replaceChildren();
  if (!done) {
    recorder.cancel();
    return null;
  }
  return recorder.stop();
}

function choice(container, shown) {
  return new Promise((resolve) => {
    const finish = el('button', { type: 'button', class: 'button primary', onclick: () => resolve(true) }, 'Done');
    const discard = el('button', { type: 'button', class: 'button', onclick: () => resolve(false) }, 'Discard');
    container.replaceChildren(...shown, discard, finish);
    container.hidden = false;
    container.onkeydown = (event) => {
      if (event.key === 'Escape') resolve(false);
    };
    finish.focus();
  });
}
