/** Times as Discord writes them; relative ones keep up with the clock. */

import { h } from "./dom.js";

const STYLES = {
  t: { timeStyle: "short" },
  T: { timeStyle: "medium" },
  d: { dateStyle: "short" },
  D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short" },
  F: { dateStyle: "full", timeStyle: "short" },
  s: { dateStyle: "short", timeStyle: "short" },
  S: { dateStyle: "short", timeStyle: "medium" },
};
const UNITS = [["year", 31_536_000], ["month", 2_592_000], ["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]];
let locale = "en";
let relativeFormat = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });

/** Timestamps in messages are written in the language of the user's client. */
export function speak(wanted) {
  locale = wanted;
  relativeFormat = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
}

function relative(seconds) {
  const difference = seconds - Date.now() / 1000;
  const [unit, size] = UNITS.find(([, length]) => Math.abs(difference) >= length) ?? UNITS.at(-1);
  return relativeFormat.format(Math.trunc(difference / size), unit);
}

/** The element of <t:seconds:style>. */
export function timestamp(seconds, style) {
  const date = new Date(seconds * 1000);
  const text = style === "R" ? relative(seconds) : new Intl.DateTimeFormat(locale, STYLES[style]).format(date);
  return h("time.timestamp", {
    datetime: date.toISOString(),
    title: new Intl.DateTimeFormat(locale, STYLES.F).format(date),
    "data-relative": style === "R" ? seconds : null,
  }, text);
}

setInterval(() => {
  for (const element of document.querySelectorAll("time[data-relative]")) {
    element.textContent = relative(Number(element.dataset.relative));
  }
}, 1000);

const sameDay = (a, b) => a.toDateString() === b.toDateString();

/** A message's time in its header: "Today at 09:41". */
export function messageTime(iso) {
  const date = new Date(iso);
  const clock = new Intl.DateTimeFormat("en", { timeStyle: "short" }).format(date);
  const now = new Date();
  const yesterday = new Date(now);
  yesterday.setDate(now.getDate() - 1);
  if (sameDay(date, now)) return `Today at ${clock}`;
  if (sameDay(date, yesterday)) return `Yesterday at ${clock}`;
  return `${new Intl.DateTimeFormat("en", { dateStyle: "short" }).format(date)}, ${clock}`;
}

export const clockTime = (iso) => new Intl.DateTimeFormat("en", { timeStyle: "short" }).format(new Date(iso));
export const longDate = (iso) => new Intl.DateTimeFormat("en", { dateStyle: "long" }).format(new Date(iso));
