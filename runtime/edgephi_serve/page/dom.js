// Small helpers that build DOM nodes. Nothing here, or anywhere in the page, parses HTML from a string.

/**
 * Build an element. Properties are set as properties, `class`, `aria-*`, `role` and the like as attributes,
 * functions under `on…` as listeners. Children may be nodes, strings (as text), or null (left out).
 */
export function el(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === 'function') node.addEventListener(key.slice(2), value);
    else if (key in node && key !== 'list' && !key.startsWith('aria')) node[key] = value;
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const SVG = 'http://www.w3.org/2000/svg';

/** An icon of the sprite in index.html. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.setAttribute('aria-hidden', 'true');
  svg.append(use);
  return svg;
}

/** A button with an icon and a label that screen readers and tooltips show. */
export function iconButton(name, label, onclick, extra = {}) {
  return el('button', { type: 'button', class: 'icon', title: label, 'aria-label': label, onclick, ...extra }, icon(name));
}

export const byId = (id) => document.getElementById(id);

/** Say something to a screen reader without moving the focus. */
export function announce(text) {
  const region = byId('announce');
  region.textContent = '';
  requestAnimationFrame(() => { region.textContent = text; });
}

/** Copy text, also where the clipboard API is absent (a page over plain http). */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el('textarea', { value: text, class: 'hidden', readOnly: true });
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

/** A button that copies what `text()` gives and shows for a moment that it did. */
export function copyButton(label, text) {
  const button = iconButton('copy', label, async () => {
    const done = await copyText(text());
    button.replaceChildren(icon(done ? 'done' : 'close'));
    announce(done ? 'Copied' : 'Copying is not allowed here');
    setTimeout(() => button.replaceChildren(icon('copy')), 1500);
  });
  return button;
}

/** Hand a file to the user. */
export function download(name, type, ...parts) {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  el('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
