// An image in full, with the crops that the model looks at and what they cost.

import { imageWithCrops, planInWords } from './crops.js';
import { byId, el, icon } from './dom.js';

const DETAIL = { auto: 'Full detail', low: 'Low detail: one crop' };

/**
 * Show an image.
 * @param {object} image as `readImage` gives it
 * @param {(image: object) => Promise<object | null>} plan what the image costs, null where the server does not say
 * @param {(detail: string) => void} [onDetail] called when the user changes the detail; absent: it cannot be changed
 */
export async function viewImage(image, plan, onDetail) {
  const dialog = byId('viewer');
  const stage = el('div', { class: 'stage-view' });
  const facts = el('p', { class: 'facts', role: 'status' });
  const show = async () => {
    const known = await plan(image);
    stage.replaceChildren(imageWithCrops(image, known));
    facts.textContent = planInWords(known) || DETAIL[image.detail];
  };
  const choose = (detail) => {
    image.detail = detail;
    onDetail(detail);
    show();
  };
  dialog.replaceChildren(
    el('div', { class: 'head' }, el('h2', { id: 'viewer-title', dir: 'auto' }, image.name),
      el('button', { type: 'button', class: 'icon', 'aria-label': 'Close', onclick: () => dialog.close() }, icon('close'))),
    stage,
    el('div', { class: 'foot' }, facts, onDetail ? detailChoice(image, choose) : null),
  );
  dialog.onclose = () => dialog.replaceChildren();
  await show();
  dialog.showModal();
}

function detailChoice(image, choose) {
  const options = Object.entries(DETAIL).map(([value, label]) => el('label', {},
    el('input', { type: 'radio', name: 'detail', value, checked: image.detail === value, onchange: () => choose(value) }), label));
  return el('fieldset', { class: 'choice' }, el('legend', { class: 'hidden' }, 'Detail'), options);
}
