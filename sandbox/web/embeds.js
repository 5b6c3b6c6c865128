/** Embeds. */

import { cssColor, h } from "./dom.js";
import { openLightbox } from "./lightbox.js";
import { inline, markdown } from "./markdown.js";
import { messageTime } from "./time.js";

export function embeds(items) {
  return items.map((item) => embed(item));
}

function embed(item) {
  const box = h("div.embed", { testid: "embed" },
    h("div.embed-grid", {},
      h("div.embed-words", {},
        item.author ? h("div.embed-author", {}, item.author.icon_url ? h("img", { src: item.author.icon_url, alt: "", width: 24, height: 24 }) : null, linked(item.author.url, item.author.name)) : null,
        item.title ? h("div.embed-title", {}, linked(item.url, inline(item.title))) : null,
        item.description ? h("div.embed-description", {}, markdown(item.description)) : null,
        fields(item.fields ?? [])),
      item.thumbnail ? media(item.thumbnail, "embed-thumbnail") : null),
    item.image ? media(item.image, "embed-image") : null,
    item.footer || item.timestamp
      ? h("div.embed-footer", {}, item.footer?.icon_url ? h("img", { src: item.footer.icon_url, alt: "", width: 20, height: 20 }) : null,
        [item.footer?.text, item.timestamp && messageTime(item.timestamp)].filter(Boolean).join(" • "))
      : null);
  if (item.color !== undefined) box.style.borderLeftColor = cssColor(item.color);
  return box;
}

const linked = (url, words) => (url ? h("a", { href: url, target: "_blank", rel: "noreferrer noopener" }, words) : words);

function media(item, name) {
  const open = () => openLightbox([{ url: item.url, description: "" }], 0);
  return h(`button.picture.${name}`, { "aria-label": "Open picture", onclick: open },
    h("img", { src: item.url, alt: "", width: item.width, height: item.height, testid: "embed-image" }));
}

function fields(items) {
  if (!items.length) return null;
  const rows = [];
  for (const item of items) {
    const last = rows.at(-1);
    if (item.inline && last?.inline && last.items.length < 3) last.items.push(item);
    else rows.push({ inline: item.inline, items: [item] });
  }
  return h("div.embed-fields", {}, rows.map((row) => h("div.embed-field-row", {}, row.items.map((item) =>
    h("div.embed-field", {}, h("div.embed-field-name", {}, inline(item.name)), h("div.embed-field-value", {}, markdown(item.value)))))));
}
