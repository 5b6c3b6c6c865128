/** Select menus of messages and modals. */

import { h, icon } from "./dom.js";
import { channels, guild, store } from "./store.js";

/** What a select offers: its own options, or people, roles and channels of the guild. */
export function offers(item) {
  const here = guild();
  const people = () => (here?.members ?? []).map(({ id }) => ({ value: id, label: store.users.get(id)?.name ?? id }));
  const roles = () => (here?.roles ?? []).map((role) => ({ value: role.id, label: `@${role.name.replace(/^@/, "")}` }));
  switch (item.type) {
    case 3: return item.options;
    case 5: return people();
    case 6: return roles();
    case 7: return [...people(), ...roles()];
    default: return channels().filter((entry) => entry.guild_id === store.guildId && (!item.channel_types?.length || item.channel_types.includes(entry.type)))
      .map((entry) => ({ value: entry.id, label: `#${entry.name}` }));
  }
}

export function select(item, message, actions) {
  return selectMenu(item, { disabled: item.disabled, onchange: (values) => actions.act(message, item, values) });
}

/** The menu itself: a button that opens a list; with max_values 1 choosing closes it. */
export function selectMenu(item, { disabled = false, onchange, testid }) {
  const most = item.max_values ?? 1;
  const options = offers(item);
  const chosen = new Set(options.filter((option) => option.default).map((option) => option.value));
  const words = h("span.select-words");
  const list = h("div.select-list", { role: "listbox", "aria-multiselectable": most > 1 ? "true" : null, hidden: true });
  const control = h("button.select-button", {
    type: "button", disabled, "aria-haspopup": "listbox", "aria-expanded": "false", testid: testid ?? `select-${item.custom_id}`,
    onclick: () => toggle(list.hidden),
    onkeydown: (event) => {
      if (event.key !== "ArrowDown" || !list.hidden) return;
      event.preventDefault();
      event.stopPropagation();
      toggle(true);
    },
  }, words, icon("down", 20));
  const box = h("div.select", {
    onkeydown: (event) => {
      if (event.key === "Escape" && !list.hidden) {
        event.stopPropagation();
        toggle(false);
        control.focus();
      }
      if (list.hidden || !["ArrowDown", "ArrowUp"].includes(event.key)) return;
      event.preventDefault();
      const items = [...list.children];
      const at = items.indexOf(document.activeElement);
      items[(at + (event.key === "ArrowDown" ? 1 : -1) + items.length) % items.length]?.focus();
    },
    onfocusout: (event) => !box.contains(event.relatedTarget) && finish(),
  }, control, list);
  let dirty = false;

  function toggle(open) {
    if (!open) return finish();
    list.hidden = false;
    control.setAttribute("aria-expanded", "true");
    (list.querySelector('[aria-selected="true"]') ?? list.firstElementChild)?.focus();
  }

  function finish() {
    if (list.hidden) return;
    list.hidden = true;
    control.setAttribute("aria-expanded", "false");
    if (dirty && most > 1 && chosen.size >= (item.min_values ?? 1)) onchange([...chosen]);
    dirty = false;
  }

  function choose(value) {
    if (most === 1) {
      chosen.clear();
      chosen.add(value);
      draw();
      list.hidden = true;
      control.setAttribute("aria-expanded", "false");
      control.focus();
      onchange([value]);
      return;
    }
    if (chosen.has(value)) chosen.delete(value);
    else if (chosen.size < most) chosen.add(value);
    dirty = true;
    draw();
  }

  function draw() {
    const labels = options.filter((option) => chosen.has(option.value)).map((option) => option.label);
    words.textContent = labels.join(", ") || item.placeholder || "Make a selection";
    words.classList.toggle("placeholder", !labels.length);
    const focused = [...list.children].indexOf(document.activeElement);
    list.replaceChildren(...options.map((option) => h("button.select-option", {
      type: "button", role: "option", "aria-selected": chosen.has(option.value) ? "true" : "false", testid: `select-option-${option.value}`,
      onclick: () => choose(option.value),
    }, option.emoji ? h("span.emoji", {}, option.emoji.name) : null,
      h("span", {}, option.label, option.description ? h("small", {}, option.description) : null))));
    if (focused >= 0) list.children[focused]?.focus();
  }

  draw();
  return box;
}
