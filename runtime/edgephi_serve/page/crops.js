// What an image or a recording costs: the crop grid over the image, and the figures in words.

import { el } from './dom.js';
import { count, seconds } from './format.js';

/**
 * An image with the crops that the model will look at drawn over it.
 * `plan`, from `/v1/chat/completions/input_tokens`: {crops: [columns, rows], scaled: [width, height], rows}, or null.
 */
export function imageWithCrops(image, plan) {
  const picture = el('img', { src: image.url, alt: image.name, decoding: 'async' });
  return el('span', { class: 'framed' }, picture, plan?.crops && plan.scaled ? grid(plan) : null);
}

/** Lines where one crop ends and the next begins. The grid may reach beyond the image: the rest is padding. */
function grid({ crops: [columns, rows], scaled: [width, height] }) {
  // The side of a crop: the scaled image fills the grid in one direction.
  const side = Math.max(width / columns, height / rows);
  const lines = [];
  for (let i = 1; i < columns; i += 1) lines.push(line('across', (i * side) / width));
  for (let i = 1; i < rows; i += 1) lines.push(line('down', (i * side) / height));
  return el('span', { class: 'grid', 'aria-hidden': 'true' }, lines);
}

function line(direction, share) {
  const node = el('span', { class: direction });
  if (share >= 1) return null;
  node.style.setProperty(direction === 'across' ? 'left' : 'top', `${share * 100}%`);
  return node;
}

/** "4 x 3 crops, 1,841 tokens". */
export function planInWords(plan) {
  if (!plan) return '';
  const words = [];
  if (plan.crops) words.push(plan.crops[0] * plan.crops[1] === 1 ? '1 crop' : `${plan.crops[0]} × ${plan.crops[1]} crops`);
  if (plan.seconds) words.push(seconds(plan.seconds));
  if (plan.rows) words.push(count(plan.rows, 'token'));
  return words.join(', ');
}

/** What a whole request would cost, in words. */
export function costInWords(cost) {
  const words = [count(cost.input_tokens, 'token')];
  const { encode = 0, prefill = 0 } = cost.seconds ?? {};
  if (encode + prefill >= 0.5) words.push(`about ${seconds(encode + prefill)} until the reply begins`);
  return words.join(', ');
}
