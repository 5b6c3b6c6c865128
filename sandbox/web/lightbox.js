/** A picture as large as the window, with its neighbours by arrow keys. */

import { fill, h, icon } from "./dom.js";

export function openLightbox(pictures, start) {
  let index = start;
  const opener = document.activeElement;
  const stage = h("div.lightbox-stage");
  const close = () => {
    dialog.close();
    dialog.remove();
    opener?.focus?.();
  };
  const turn = (step) => {
    index = (index + step + pictures.length) % pictures.length;
    draw();
  };
  const draw = () => {
    const item = pictures[index];
    fill(stage,
      h("img", { src: item.url, alt: item.description ?? "", testid: "lightbox-image" }),
      h("a.open-original", { href: item.url, target: "_blank", rel: "noreferrer" }, "Open in browser"));
  };
  const dialog = h("dialog.lightbox", {
    testid: "lightbox", "aria-label": "Picture",
    onclick: (event) => (event.target === dialog || event.target === stage) && close(),
    oncancel: (event) => { event.preventDefault(); close(); },
    onkeydown: (event) => {
      if (event.key === "ArrowRight") turn(1);
      if (event.key === "ArrowLeft") turn(-1);
    },
  },
    h("button.round.lightbox-close", { "aria-label": "Close", onclick: close }, icon("close", 24)),
    stage);
  document.getElementById("layers").append(dialog);
  draw();
  dialog.showModal();
}
