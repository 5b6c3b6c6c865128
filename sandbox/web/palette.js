/** The list above the composer: commands, then choices of an option. The focus stays in the field. */

import { fill, h } from "./dom.js";

let count = 0;

export class Palette {
  constructor() {
    this.items = [];
    this.selected = -1;
    this.element = h("div.palette", { testid: "command-palette", role: "listbox", "aria-label": "Commands and choices", hidden: true, id: `palette-${++count}` });
  }

  get isOpen() {
    return !this.element.hidden;
  }

  close() {
    this.items = [];
    this.selected = -1;
    this.element.hidden = true;
  }

  /** items: [{label, description, hint: [names], testid, choose}]; title stands above them, note below. */
  show({ title, avatar = null, items, selectFirst = false, note = null }) {
    this.items = items;
    this.selected = selectFirst && items.length ? 0 : -1;
    fill(this.element,
      title ? h("div.palette-title", {}, avatar ? h("img.avatar", { src: avatar, alt: "", width: 16, height: 16 }) : null, title) : null,
      items.map((item, index) => h("div.palette-item", {
        role: "option", id: `${this.element.id}-${index}`, testid: item.testid ?? "option-choice",
        // pointerdown, so that the field keeps the focus
        onpointerdown: (event) => event.preventDefault(),
        onclick: () => item.choose(),
        onpointermove: () => this.select(index, false),
      },
        h("span.palette-label", {}, item.label, (item.hint ?? []).map((name) => h("span.palette-option", {}, name))),
        item.description ? h("span.palette-description", {}, item.description) : null)),
      note ? h("div.palette-note", {}, note) : null);
    this.element.hidden = !items.length && !title && !note;
    this.mark();
  }

  select(index, scroll = true) {
    this.selected = index;
    this.mark();
    if (scroll) this.row(index)?.scrollIntoView({ block: "nearest" });
  }

  row(index) {
    return this.element.querySelectorAll(".palette-item")[index];
  }

  mark() {
    this.element.querySelectorAll(".palette-item").forEach((row, index) => row.setAttribute("aria-selected", String(index === this.selected)));
    const field = document.activeElement;
    if (field?.matches("input, textarea")) {
      field.setAttribute("aria-controls", this.element.id);
      field.setAttribute("aria-autocomplete", "list");
      if (this.selected >= 0) field.setAttribute("aria-activedescendant", `${this.element.id}-${this.selected}`);
      else field.removeAttribute("aria-activedescendant");
    }
  }

  /** Take a key if it is the palette's: arrows, Enter and Tab on a selected item, Escape. Tells whether it was. */
  key(event) {
    if (!this.isOpen || !this.items.length) return false;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const step = event.key === "ArrowDown" ? 1 : -1;
      const start = this.selected < 0 && step < 0 ? 0 : this.selected;
      this.select((start + step + this.items.length) % this.items.length);
    } else if ((event.key === "Enter" || (event.key === "Tab" && !event.shiftKey)) && this.selected >= 0) {
      this.items[this.selected].choose();
    } else return false;
    event.preventDefault();
    return true;
  }
}
