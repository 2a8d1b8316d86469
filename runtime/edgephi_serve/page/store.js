// What the page keeps: in sessionStorage only, so it ends with the tab and never leaves the browser.

const PREFIX = 'edgephi.';

export function load(name) {
  try {
    return JSON.parse(sessionStorage.getItem(PREFIX + name));
  } catch {
    return null;
  }
}

/** Keep a value. False if the browser refuses: no room, or storage switched off. */
export function save(name, value) {
  try {
    if (value === null) sessionStorage.removeItem(PREFIX + name);
    else sessionStorage.setItem(PREFIX + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}
