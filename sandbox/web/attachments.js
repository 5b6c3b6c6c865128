/** Files of a message: pictures large, in a grid if there are several, and other files as cards. */

import { bytes, h, icon } from "./dom.js";
import { openLightbox } from "./lightbox.js";

export function attachments(items) {
  if (!items.length) return null;
  const pictures = items.filter((item) => item.width);
  const files = items.filter((item) => !item.width);
  return [
    pictures.length ? gallery(pictures.map(asPicture)) : null,
    files.map((item) => fileCard({ name: item.filename, size: item.size, url: item.url })),
  ];
}

const asPicture = (item) => ({
  url: item.url, width: item.width, height: item.height, description: item.description ?? item.filename, spoiler: item.filename.startsWith("SPOILER_"),
});

/** Pictures side by side: one stands alone, more share a grid. */
export function gallery(pictures) {
  const count = Math.min(pictures.length, 4);
  return h(`div.gallery.gallery-${pictures.length === 1 ? "one" : count}`, {}, pictures.map((item) => picture(item, pictures)));
}

function picture(item, all) {
  const image = h("img", {
    src: item.url, alt: item.description ?? "", width: item.width, height: item.height, testid: "attachment-image",
  });
  const show = () => openLightbox(all, all.indexOf(item));
  const button = h("button.picture", { "aria-label": `Open picture: ${item.description ?? ""}`, onclick: show }, image);
  if (!item.spoiler) return button;
  button.classList.add("veiled");
  button.append(h("span.veil", {}, "SPOILER"));
  const reveal = (event) => {
    if (!button.classList.contains("veiled")) return;
    event.stopImmediatePropagation();
    button.classList.remove("veiled");
  };
  button.addEventListener("click", reveal, { capture: true });
  return button;
}

export function fileCard({ name, size, url }) {
  return h("div.file-card", { testid: "attachment-file" }, icon("file", 32),
    h("div", {}, h("a", { href: url, target: "_blank", rel: "noreferrer", download: name }, name),
      size === null || size === undefined ? null : h("div.muted", {}, bytes(size))));
}
