/** The context menu of messages and users. */

import { h } from "./dom.js";

let open = null;

export function closeMenu() {
  open?.remove();
  open = null;
}

/** entries: [{label, testid, danger, onclick}] or null for a line; at the place of the event. */
export function openMenu(event, entries) {
  event.preventDefault();
  event.stopPropagation();
  closeMenu();
  const opener = document.activeElement;
  const menu = h("div.context-menu", {
    role: "menu", testid: "context-menu",
    onkeydown: (press) => {
      const items = [...menu.querySelectorAll("button")];
      const at = items.indexOf(document.activeElement);
      if (press.key === "Escape") {
        closeMenu();
        opener?.focus?.();
      } else if (press.key === "ArrowDown" || press.key === "ArrowUp") {
        press.preventDefault();
        items[(at + (press.key === "ArrowDown" ? 1 : -1) + items.length) % items.length].focus();
      }
    },
  }, entries.map((entry) => (entry === null ? h("hr") : entry.heading ? h("div.menu-heading", {}, entry.heading) : h(`button${entry.danger ? ".danger" : ""}`, {
    role: "menuitem", testid: entry.testid, onclick: () => {
      closeMenu();
      entry.onclick();
    },
  }, entry.label))));
  document.getElementById("layers").append(menu);
  const box = event.currentTarget?.getBoundingClientRect?.();
  const x = event.clientX || box?.left || 0;
  const y = event.clientY || box?.bottom || 0;
  menu.style.left = `${Math.max(8, Math.min(x, innerWidth - menu.offsetWidth - 8))}px`;
  menu.style.top = `${Math.max(8, Math.min(y, innerHeight - menu.offsetHeight - 8))}px`;
  open = menu;
  menu.querySelector("button")?.focus();
}

document.addEventListener("pointerdown", (event) => open && !open.contains(event.target) && closeMenu());
