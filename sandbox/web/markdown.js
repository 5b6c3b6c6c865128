/** Discord's markdown, as elements. */

import { h } from "./dom.js";
import { channels, guild, store } from "./store.js";
import { timestamp } from "./time.js";

const INLINE = [
  [/^\\([^\sA-Za-z0-9])/, (m) => m[1]],
  [/^```(?:([a-z0-9_+\-.#]+)\n)?\n*([^]+?)\n*```/i, (m) => h("pre.code-block", {}, h("code", {}, m[2]))],
  [/^(`+)([^]*?[^`])\1(?!`)/, (m) => h("code.code", {}, m[2].trim())],
  [/^\|\|([^]+?)\|\|/, (m, state) => spoiler(inline(m[1], state))],
  [/^\*\*\*([^]+?)\*\*\*(?!\*)/, (m, state) => h("strong", {}, h("em", {}, inline(m[1], state)))],
  [/^\*\*([^]+?)\*\*(?!\*)/, (m, state) => h("strong", {}, inline(m[1], state))],
  [/^__([^]+?)__(?!_)/, (m, state) => h("u", {}, inline(m[1], state))],
  [/^\*(?=\S)([^*]+?)\*(?!\*)/, (m, state) => h("em", {}, inline(m[1], state))],
  [/^_(?=\S)([^_]+?)_(?![A-Za-z0-9_])/, (m, state) => h("em", {}, inline(m[1], state))],
  [/^~~([^]+?)~~/, (m, state) => h("s", {}, inline(m[1], state))],
  [/^\[([^\]\n]+)\]\(<?(https?:\/\/[^\s)>]+)>?(?: "[^"]*")?\)/, (m, state) => link(m[2], inline(m[1], state))],
  [/^<(https?:\/\/[^\s>]+)>/, (m) => link(m[1], m[1])],
  [/^https?:\/\/[^\s<>|]+[^\s<>|.,:;"'\])*_~]/, (m) => link(m[0], m[0])],
  [/^<@!?(\d+)>/, (m) => mention(m[1])],
  [/^<@&(\d+)>/, (m) => roleMention(m[1])],
  [/^<#(\d+)>/, (m) => channelMention(m[1])],
  [/^<\/([^:>]+):(\d+)>/, (m) => h("span.mention", {}, `/${m[1]}`)],
  [/^<t:(-?\d+)(?::([tTdDfFsSR]))?>/, (m) => timestamp(Number(m[1]), m[2] ?? "f")],
  [/^<a?:(\w+):(\d+)>/, (m) => `:${m[1]}:`],
  [/^@(everyone|here)\b/, (m) => h("span.mention", {}, m[0])],
];

const PLACE = /^https:\/\/(?:ptb\.|canary\.)?discord(?:app)?\.com\/channels\/(?:\d+|@me)\/(\d+)(?:\/(\d+))?$/;

function link(url, ...children) {
  const place = PLACE.exec(url);
  if (place) {
    const [, channelId, messageId] = place;
    const name = channels().find((item) => item.id === channelId)?.name ?? "unknown";
    const isBare = children.length === 1 && children[0] === url;
    return h(isBare ? "a.mention" : "a", { href: url, "data-channel": channelId, "data-message": messageId, testid: "message-link" },
      isBare ? `#${name}${messageId ? " › 💬" : ""}` : children);
  }
  return h("a", { href: url, target: "_blank", rel: "noreferrer noopener" }, ...children);
}

function spoiler(children) {
  const reveal = (event) => {
    const element = event.currentTarget;
    if (element.classList.contains("revealed")) return;
    if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    element.classList.add("revealed");
    element.setAttribute("aria-label", "Spoiler, shown");
  };
  return h("span.spoiler", { role: "button", tabindex: "0", "aria-label": "Spoiler, press to show", onclick: reveal, onkeydown: reveal },
    h("span", {}, children));
}

function mention(id) {
  const user = store.users.get(id);
  return h("span.mention", { "data-user": id, testid: "mention" }, `@${user?.name ?? "unknown-user"}`);
}

function roleMention(id) {
  const role = guild()?.roles.find((item) => item.id === id);
  return h("span.mention", {}, `@${role?.name ?? "unknown-role"}`);
}

function channelMention(id) {
  const found = channels().find((item) => item.id === id);
  return h("span.mention", { "data-channel": id, role: "link", tabindex: "0" }, `#${found?.name ?? "unknown"}`);
}

/** Inline markdown of a text, as a list of nodes. */
export function inline(text, state = {}) {
  const nodes = [];
  let plain = "";
  let rest = text;
  let before = "";
  while (rest) {
    let found = null;
    for (const [pattern, make] of INLINE) {
      // an underscore inside a word is no emphasis, and a URL starts at a word's edge
      if (/\w/.test(before) && (rest[0] === "_" || rest[0] === "h")) break;
      const match = pattern.exec(rest);
      if (match) {
        found = [match, make(match, state)];
        break;
      }
    }
    if (found) {
      if (plain) nodes.push(plain);
      plain = "";
      nodes.push(found[1]);
      before = found[0][0].at(-1);
      rest = rest.slice(found[0][0].length);
    } else {
      if (rest[0] === "\n") {
        if (plain) nodes.push(plain);
        plain = "";
        nodes.push(h("br"));
      } else plain += rest[0];
      before = rest[0];
      rest = rest.slice(1);
    }
  }
  if (plain) nodes.push(plain);
  return nodes;
}

const BLOCKS = [
  [/^(#{1,3}) +([^\n]+)(?:\n|$)/, (m) => h(`h${m[1].length + 2}.heading-${m[1].length}`, {}, inline(m[2]))],
  [/^-# +([^\n]+)(?:\n|$)/, (m) => h("small.subtext", {}, inline(m[1]))],
  [/^>>> ?([^]+)$/, (m) => h("blockquote", {}, markdown(m[1]))],
  [/^(?:> ?[^\n]*(?:\n|$))+/, (m) => h("blockquote", {}, markdown(m[0].replace(/^> ?/gm, "").replace(/\n$/, "")))],
  [/^(?: *[-*] +[^\n]+(?:\n|$))+/, (m) => list("ul", m[0], /^ *[-*] +/)],
  [/^(?: *\d+\. +[^\n]+(?:\n|$))+/, (m) => list("ol", m[0], /^ *\d+\. +/)],
];

function list(tag, text, marker) {
  const lines = text.replace(/\n$/, "").split("\n");
  return h(tag, {}, lines.map((line) => h("li", {}, inline(line.replace(marker, "")))));
}

/** A whole message text with headings, quotes and lists, as a list of nodes. */
export function markdown(text) {
  const nodes = [];
  let paragraph = "";
  let rest = text;
  const flush = () => {
    if (paragraph) nodes.push(h("span", {}, inline(paragraph.replace(/\n$/, ""))), h("span.line-end"));
    paragraph = "";
  };
  while (rest) {
    const block = /^```/.test(rest) ? null : BLOCKS.map(([pattern, make]) => [pattern.exec(rest), make]).find(([match]) => match);
    if (block) {
      flush();
      nodes.push(block[1](block[0]));
      rest = rest.slice(block[0][0].length);
      continue;
    }
    const fence = /^```[^]*?```\n?/.exec(rest);
    const line = fence ? fence[0] : /^[^\n]*(?:\n|$)/.exec(rest)[0];
    const inner = line.indexOf("```");
    const taken = !fence && inner > 0 ? line.slice(0, inner) : line;
    paragraph += taken;
    rest = rest.slice(taken.length);
  }
  flush();
  while (nodes.at(-1)?.className === "line-end") nodes.pop();
  return nodes;
}

/** Plain words of a text, for a preview in one line. */
export function plain(text) {
  return text
    .replace(/<@!?(\d+)>/g, (_, id) => `@${store.users.get(id)?.name ?? "unknown-user"}`)
    .replace(/^(?:-#|#{1,3}|>) /gm, "")
    .replace(/[*_~`|]{1,3}/g, "")
    .replace(/\s+/g, " ")
    .trim();
}
