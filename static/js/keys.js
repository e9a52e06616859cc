// Single-key shortcuts. They can be switched off, and never fire while somebody types.

const STORED = "shortcuts";

export function areOn() {
  try {
    return localStorage.getItem(STORED) !== "off";
  } catch {
    return true;
  }
}

/** @param {boolean} on */
function turn(on) {
  try {
    localStorage.setItem(STORED, on ? "on" : "off");
  } catch {
    // Storage may be forbidden: the shortcuts stay on.
  }
}

/**
 * @typedef {{key: string, does: string, run: () => void}} Shortcut
 * @param {Shortcut[]} shortcuts
 */
export function listen(shortcuts) {
  const help = dialog(shortcuts);
  const all = [...shortcuts, { key: "?", does: "show this help", run: () => help.showModal() }];
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (!areOn() && event.key !== "?") return;
    if (help.open) return;
    const found = all.find((shortcut) => shortcut.key === event.key);
    if (!found) return;
    event.preventDefault();
    found.run();
  });
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  return target instanceof HTMLElement && target.matches("input, textarea, select, [contenteditable]");
}

/** @param {Shortcut[]} shortcuts */
function dialog(shortcuts) {
  const element = document.createElement("dialog");
  element.setAttribute("aria-label", "Keyboard shortcuts");
  const title = document.createElement("h2");
  title.textContent = "Keyboard shortcuts";
  const list = document.createElement("dl");
  list.className = "facts";
  const rows = [...shortcuts, { key: "Enter", does: "open the incident in focus" }, { key: "?", does: "show this help" }];
  for (const { key, does } of rows) {
    const term = document.createElement("dt");
    const shown = document.createElement("kbd");
    shown.textContent = key;
    term.append(shown);
    const text = document.createElement("dd");
    text.textContent = does;
    list.append(term, text);
  }
  const label = document.createElement("label");
  label.className = "check";
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = areOn();
  box.addEventListener("change", () => turn(box.checked));
  label.append(box, "Single-key shortcuts are on");
  const close = document.createElement("button");
  close.textContent = "Close";
  close.addEventListener("click", () => element.close());
  element.append(title, list, label, close);
  document.body.append(element);
  return element;
}
