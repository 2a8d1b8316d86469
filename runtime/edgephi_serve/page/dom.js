// Helpers that build DOM nodes. Nothing in the page parses HTML from a string.

export const byId = (id) => document.getElementById(id);

const ABSENT = [undefined, null, false];

/** An element. Known names become properties, others attributes; absent values and children are left out. */
export function el(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (ABSENT.includes(value)) continue;
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.flat(2).filter((child) => !ABSENT.includes(child)));
  return node;
}

export const button = (label, onclick, extra) => el('button', { type: 'button', onclick, ...extra }, label);

export const link = (label, onclick) => button(label, onclick, { class: 'link' });

/** Say something to a screen reader without moving the focus. */
export function announce(text) {
  byId('announce').textContent = '';
  requestAnimationFrame(() => { byId('announce').textContent = text; });
}

/** Whether the end of a view is on the screen, so that it is to be followed as it grows. */
export const isNearEnd = (view) => !byId(view).hidden && innerHeight + scrollY > document.documentElement.scrollHeight - 120;

export const follow = () => requestAnimationFrame(() => scrollTo({ top: document.documentElement.scrollHeight, behavior: 'instant' }));

/** Copy text, also where the clipboard API is absent: on a page over plain http. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el('textarea', { value: text, class: 'hidden' });
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

/** A button that copies what `text()` gives. */
export function copyButton(text) {
  const node = link('Copy', async () => {
    node.textContent = await copy(text()) ? 'Copied' : 'Not allowed here';
    announce(node.textContent);
    setTimeout(() => { node.textContent = 'Copy'; }, 1500);
  });
  return node;
}

/** Hand a file to the user. */
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  el('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** Open a dialog; it is removed when it closes. */
export function openDialog(title, kind, ...children) {
  const dialog = el('dialog', { class: kind, 'aria-label': title, onclose: () => dialog.remove() },
    el('div', { class: 'head' }, el('h2', {}, title), link('Close', () => dialog.close())), children);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
