// Theme and time zone, saved in this browser.

/** @param {string} name */
function saved(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/**
 * @param {string} name
 * @param {string} value
 */
function save(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Storage may be forbidden: the choice holds for this page.
  }
}

class PagePreferences extends HTMLElement {
  connectedCallback() {
    const root = document.documentElement;
    if (saved("zone") === "local") root.dataset.zone = "local";
    const zone = document.createElement("button");
    const theme = document.createElement("button");
    for (const button of [zone, theme]) {
      button.type = "button";
      button.className = "quiet";
    }
    const isDark = () =>
      root.dataset.theme
        ? root.dataset.theme === "dark"
        : matchMedia("(prefers-color-scheme: dark)").matches;
    const show = () => {
      zone.textContent = root.dataset.zone === "local" ? "Local time" : "UTC";
      zone.title = `Show times in ${root.dataset.zone === "local" ? "UTC" : "local time"}`;
      theme.textContent = isDark() ? "Dark" : "Light";
      theme.title = `Change to ${isDark() ? "light" : "dark"} colours`;
    };
    zone.addEventListener("click", () => {
      root.dataset.zone = root.dataset.zone === "local" ? "utc" : "local";
      save("zone", root.dataset.zone);
      show();
      document.dispatchEvent(new Event("zonechange"));
    });
    theme.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      save("theme", root.dataset.theme);
      show();
      document.dispatchEvent(new Event("themechange"));
    });
    show();
    this.className = "row";
    this.replaceChildren(zone, theme);
  }
}

customElements.define("page-preferences", PagePreferences);
