/** Builds elements. Text always goes in as text, so nothing a bot or a user writes can become markup. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element: h("button.primary", {onclick, testid: "send"}, "Send", child, …).
 * Attributes that are null, undefined or false are left out; falsy children too (0 stays).
 */
export function h(selector, attributes = {}, ...children) {
  const [tag, ...classes] = selector.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "testid") element.dataset.testid = value;
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** Put new children in place of all there are. */
export function fill(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

const ICONS = {
  hash: "M5.9 20.5 6.6 16H2.5l.3-2h4.1l.9-5H3.7L4 7h4.1l.7-4.5h2L10.1 7h5l.7-4.500h2L17.1 7h4.100l-.3 2h-4.100l-.9 5h4.100l-.3 2h-4.100l-.7 4.500h-2l.7-4.500h-5l-.7 4.500zM9.8 9l-.9 5h5l.9-5z",
  thread: "M5 3h14v9H9l-4 4zM9 18h8l3 3v-9",
  forum: "M4 4h16v11H10l-6 5z",
  at: "M16 8v5a3 3 0 0 0 5 1 9 9 0 1 0-4 6M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0z",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  menu: "M4 6h16M4 12h16M4 18h16",
  people: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c0-4 3-6 6.5-6s6.5 2 6.5 6M16 4.500a3.5 3.5 0 0 1 0 6.500M18 14.500c2.5.8 3.5 3 3.5 5.5",
  send: "M4 12 3 4l18 8-18 8 1-8zm0 0h8",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.500M17.5 17.5 19 19M19 5l-1.5 1.500M6.5 17.5 5 19",
  moon: "M20 14.500A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.500z",
  file: "M6 2h8l5 5v15H6zM14 2v5h5",
  down: "M6 9l6 6 6-6",
  link: "M10 4H4v16h16v-6M14 4h6v6M20 4l-9 9",
  reply: "M9 6 3 12l6 6M3 12h10c4 0 7 2 8 6",
  warning: "M12 3 2 20h20zM12 10v4M12 17v.5",
  lock: "M6 11h12v10H6zM9 11V7a3 3 0 0 1 6 0v4",
  upload: "M12 16V4M7 9l5-5 5 5M4 20h16",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 14h10l1-14",
  swap: "M7 4 3 8l4 4M3 8h14M17 12l4 4-4 4M21 16H7",
};
const FILLED = new Set(["hash"]);

/** A small drawing that stands beside words; hidden from screen readers. */
export function icon(name, size = 20) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", width: size, height: size, "aria-hidden": "true" })) {
    svg.setAttribute(key, value);
  }
  svg.classList.add("icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  if (FILLED.has(name)) path.setAttribute("fill", "currentColor");
  else {
    for (const [key, value] of Object.entries({
      fill: "none", stroke: "currentColor", "stroke-width": "2", "stroke-linecap": "round", "stroke-linejoin": "round",
    })) path.setAttribute(key, value);
  }
  svg.append(path);
  return svg;
}

export const avatar = (person, size = 40) =>
  h("img.avatar", { src: person.avatar, alt: "", width: size, height: size, loading: "lazy" });

/** A colour as Discord gives it (a number) in CSS. */
export const cssColor = (number) => `#${number.toString(16).padStart(6, "0")}`;

/** Give a name the colour of its owner's role; the light theme darkens it to stay readable. */
export function colored(element, color) {
  if (color === null) return;
  element.classList.add("colored");
  element.style.setProperty("--role", cssColor(color));
}

export function bytes(count) {
  if (count < 1024) return `${count} B`;
  const units = ["KB", "MB", "GB"];
  let value = count;
  let unit = "B";
  while (value >= 1024 && units.length) {
    value /= 1024;
    unit = units.shift();
  }
  return `${value.toFixed(value < 10 ? 2 : 1)} ${unit}`;
}
