/** Message components, the old rows and Components V2. */

import { cssColor, h, icon } from "./dom.js";
import { fileCard, gallery } from "./attachments.js";
import { markdown } from "./markdown.js";
import { openLightbox } from "./lightbox.js";
import { select } from "./select.js";
import { store } from "./store.js";

const STYLES = { 1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "secondary", 6: "primary" };

/** The components of a message. actions.act(message, component, values) is what pressing and choosing does. */
export function components(message, actions) {
  if (!message.components.length) return null;
  return h("div.components", {}, message.components.map((item) => component(item, message, actions)));
}

function component(item, message, actions) {
  const draw = DRAW[item.type];
  return draw ? draw(item, message, actions) : h("div.muted", {}, `[component ${item.type}]`);
}

const children = (item, message, actions) => item.components.map((child) => component(child, message, actions));

function button(item, message, actions) {
  const words = [item.emoji ? h("span.emoji", {}, item.emoji.name) : null, item.label ? h("span", {}, item.label) : null];
  const testid = `button-${item.label ?? item.emoji?.name ?? item.custom_id}`;
  if (item.style === 5) {
    return h("a.button.secondary", { href: item.url, target: "_blank", rel: "noreferrer noopener", testid }, words, icon("link", 14));
  }
  const waits = [...store.pending.values()].some((p) => p.messageId === message.id && p.customId === item.custom_id && !p.failed);
  return h(`button.button.${STYLES[item.style]}${waits ? ".waiting" : ""}`, {
    type: "button", disabled: item.disabled || waits, testid, "aria-busy": waits ? "true" : null,
    onclick: () => actions.act(message, item),
  }, words, waits ? h("span.dots", { "aria-hidden": "true" }, h("i"), h("i"), h("i")) : null);
}

function thumbnail(item) {
  const all = [{ url: item.media.url, description: item.description }];
  return h("button.picture.thumbnail", { "aria-label": `Open picture: ${item.description ?? ""}`, onclick: () => openLightbox(all, 0) },
    h("img", { src: item.media.url, alt: item.description ?? "" }));
}

function container(item, message, actions) {
  const box = h(`div.container${item.spoiler ? ".veiled" : ""}`, { testid: "container" }, children(item, message, actions));
  if (item.accent_color !== null) box.style.setProperty("--accent", cssColor(item.accent_color));
  if (item.spoiler) box.addEventListener("click", () => box.classList.remove("veiled"), { once: true });
  return box;
}

const DRAW = {
  1: (item, message, actions) => h("div.action-row", {}, children(item, message, actions)),
  2: button,
  3: select, 5: select, 6: select, 7: select, 8: select,
  9: (item, message, actions) => h("div.section", { testid: "section" },
    h("div.section-words", {}, children(item, message, actions)), component(item.accessory, message, actions)),
  10: (item) => h("div.text", { testid: "text-display" }, markdown(item.content)),
  11: thumbnail,
  12: (item) => gallery(item.items.map((entry) => ({
    url: entry.media.url, width: entry.media.width, height: entry.media.height, description: entry.description ?? "", spoiler: entry.spoiler,
  }))),
  13: (item) => fileCard({ name: item.name ?? "file", size: item.size, url: item.file.url }),
  14: (item) => h(`div.separator${item.divider ? ".with-line" : ""}${item.spacing === 2 ? ".large" : ""}`, { role: item.divider ? "separator" : null }),
  17: container,
};
