// DOM nodes, of which none is parsed from a string of HTML, and figures in words.

export const ui = new Proxy({}, { get: (_, id) => document.getElementById(id) });

const isPresent = (value) => (value ?? false) !== false;

// `el('p.remark', { title }, 'text')`. Known names become properties, others attributes; what is absent is left out.
export function el(kind, ...children) {
	const [name, ...classes] = kind.split('.');
	const node = document.createElement(name);
	const properties = children[0]?.constructor === Object ? children.shift() : {};
	for (const [key, value] of Object.entries(properties)) {
		if (!isPresent(value)) continue;
		if (key in node) node[key] = value;
		else node.setAttribute(key, value);
	}
	node.classList.add(...classes);
	node.append(...children.flat(2).filter(isPresent));
	return node;
}

export const button = (label, onclick, kind = '', more = {}) => el(`button${kind}`, { type: 'button', onclick, ...more }, label);

export const link = (label, onclick, more) => button(label, onclick, '.link', more);

// For screen readers, without moving the focus.
export function announce(text) {
	ui.announce.textContent = '';
	requestAnimationFrame(() => { ui.announce.textContent = text; });
}

export const scrollToEnd = () => requestAnimationFrame(() => scrollTo({ top: document.documentElement.scrollHeight, behavior: 'instant' }));

// Add something to a view, whose end stays on the screen if it was.
export function whileFollowing(view, add) {
	const follow = !ui[view].hidden && innerHeight + scrollY > document.documentElement.scrollHeight - 120;
	add();
	if (follow) scrollToEnd();
}

async function copy(text) {
	try {
		await navigator.clipboard.writeText(text);
		return true;
	} catch { // Over plain http there is no clipboard API.
		const area = el('textarea.hidden', { value: text });
		document.body.append(area);
		area.select();
		const done = document.execCommand('copy');
		area.remove();
		return done;
	}
}

export function copyButton(text) {
	const node = link('Copy', async () => {
		node.textContent = await copy(text()) ? 'Copied' : 'Not allowed here';
		announce(node.textContent);
		setTimeout(() => { node.textContent = 'Copy'; }, 1500);
	});
	return node;
}

export function download(name, type, text) {
	const url = URL.createObjectURL(new Blob([text], { type }));
	el('a', { href: url, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(url), 10000);
}

export function openDialog(title, kind, ...children) {
	const dialog = el(`dialog.${kind}`, { 'aria-label': title, onclose: () => dialog.remove() },
		el('div.head', el('h2', title), link('Close', () => dialog.close())), children);
	document.body.append(dialog);
	dialog.showModal();
	return dialog;
}

export const figure = (number) => number.toLocaleString('en');

export const count = (number, noun) => `${figure(number)} ${noun}${number === 1 ? '' : 's'}`;

// 0.04 s, 3.2 s, 48 s, 2 min 5 s
export function seconds(value) {
	if (value < 10) return `${value.toFixed(value < 0.1 ? 2 : 1)} s`;
	const whole = Math.round(value);
	return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ''}`;
}

// 0:07, 12:30, 1:02:03
export function clock(value) {
	const parts = [value / 3600, (value / 60) % 60, value % 60].map((part) => String(Math.floor(part)).padStart(2, '0'));
	return parts.join(':').replace(/^(00:)?0?/, '');
}

// 640 KB, 3.1 MB
export const bytes = (value) => (value < 1e6 ? `${Math.ceil(value / 1e3)} KB` : `${(value / 1e6).toFixed(1)} MB`);
