/** The list of messages, and one message. */

import { avatar, colored, fill, h, icon } from "./dom.js";
import { attachments } from "./attachments.js";
import { components } from "./components.js";
import { embeds } from "./embeds.js";
import { inline, markdown, plain } from "./markdown.js";
import { channel, nameColor, person, store } from "./store.js";
import { clockTime, longDate, messageTime } from "./time.js";

const EPHEMERAL = 1 << 6;
const LOADING = 1 << 7;
const COMPONENTS_V2 = 1 << 15;
const GROUP_MS = 7 * 60 * 1000;

export const isEphemeral = (message) => !!(message.flags & EPHEMERAL);
const isThinking = (message) => !!(message.flags & LOADING);

/**
 * Draw the current channel's messages into their place, keeping the view at the end if it was there.
 * actions: {dismiss, context, act, reply}
 */
export function drawMessages(place, actions, { jump = false } = {}) {
  const atEnd = jump || place.scrollHeight - place.scrollTop - place.clientHeight < 80;
  const shown = [...store.messages.values()].filter((message) => !store.dismissed.has(message.id));
  const rows = [welcome()];
  let before = null;
  for (const message of shown) {
    if (!before || !sameDate(before, message)) rows.push(divider(message.timestamp));
    rows.push(messageRow(message, continues(before, message), actions));
    before = message;
  }
  for (const [id, waiting] of store.pending) {
    if (waiting.kind === "command" && waiting.channelId === store.channelId) rows.push(waitingRow(id, waiting, actions));
  }
  fill(place, h("div.message-list", {}, rows));
  if (atEnd) toEnd(place);
  for (const image of place.querySelectorAll("img")) {
    if (!image.complete) image.addEventListener("load", () => atEnd && toEnd(place), { once: true });
  }
}

/** Draw one message again where it stands. */
export function redraw(place, message, actions) {
  const old = place.querySelector(`[data-message="${message.id}"]`);
  if (!old) return false;
  const atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 80;
  const focused = old.contains(document.activeElement) ? document.activeElement.dataset.testid : null;
  const fresh = messageRow(message, old.classList.contains("continued"), actions);
  old.replaceWith(fresh);
  if (focused) fresh.querySelector(`[data-testid="${CSS.escape(focused)}"]`)?.focus();
  if (atEnd) {
    toEnd(place);
    for (const image of fresh.querySelectorAll("img")) image.addEventListener("load", () => toEnd(place), { once: true });
  }
  return true;
}

const toEnd = (place) => {
  place.scrollTop = place.scrollHeight;
};

const sameDate = (a, b) => new Date(a.timestamp).toDateString() === new Date(b.timestamp).toDateString();

function continues(before, message) {
  return !!before && before.author.id === message.author.id && !message.interaction_metadata && !message.message_reference &&
    sameDate(before, message) && isEphemeral(before) === isEphemeral(message) &&
    new Date(message.timestamp) - new Date(before.timestamp) < GROUP_MS;
}

function divider(iso) {
  return h("div.divider", { role: "separator" }, h("span", {}, longDate(iso)));
}

function welcome() {
  const here = channel();
  if (!here) return null;
  if (here.type === 1) {
    const other = [...store.users.values()].find((user) => user.name === here.name) ?? store.bot;
    return h("div.welcome", {}, avatar(other, 80), h("h2", {}, here.name),
      h("p", {}, "This is the beginning of your direct message history with ", h("strong", {}, here.name), "."));
  }
  if (here.type === 3) {
    return h("div.welcome", {}, h("div.welcome-icon", {}, icon("people", 42)), h("h2", {}, here.name),
      h("p", {}, "Welcome to the beginning of the ", h("strong", {}, here.name), " group."));
  }
  const isThread = here.type === 11 || here.type === 12;
  return h("div.welcome", {},
    h("div.welcome-icon", {}, icon(isThread ? "thread" : here.type === 15 ? "forum" : "hash", 42)),
    h("h2", {}, isThread ? here.name : `Welcome to #${here.name}!`),
    h("p", {}, isThread ? "This is the start of the thread." : `This is the start of the #${here.name} channel. ${here.topic ?? ""}`));
}

function messageRow(message, continued, actions) {
  const author = person(message.author);
  const classes = [
    "article.message", continued && "continued", message.pings_me && "pings-me", isEphemeral(message) && "ephemeral",
  ].filter(Boolean).join(".");
  const row = h(classes, {
    "data-message": message.id, testid: "message", tabindex: "-1", "aria-label": `${author.name}, ${messageTime(message.timestamp)}`,
    oncontextmenu: (event) => actions.context(event, { message }),
  },
    origin(message),
    h("div.message-body", {},
      continued
        ? h("time.side-time", { datetime: message.timestamp }, clockTime(message.timestamp))
        : h("button.avatar-button", {
          "aria-label": `${author.name}: user menu`, onclick: (event) => actions.context(event, { user: author }),
          oncontextmenu: (event) => actions.context(event, { user: author }),
        }, avatar(author)),
      h("div.message-content", { testid: "message-content" },
        continued ? null : header(message, author, actions),
        isThinking(message) ? thinking() : content(message),
        message.flags & COMPONENTS_V2 ? null : attachments(message.attachments),
        embeds(message.embeds),
        components(message, actions),
        reactions(message),
        store.failed.has(message.id)
          ? h("div.failed", { role: "alert", testid: "interaction-failed" }, "This interaction failed") : null,
        isEphemeral(message) ? onlyYou(() => actions.dismiss(message.id)) : null)),
    toolbar(message, actions));
  return row;
}

function header(message, author, actions) {
  const color = nameColor(author.id);
  const name = h("button.author", { oncontextmenu: (event) => actions.context(event, { user: author }), onclick: (event) => actions.context(event, { user: author }) }, author.name);
  colored(name, color);
  return h("div.message-header", {}, name,
    author.bot ? h("span.app-badge", { testid: "app-badge" }, "APP") : null,
    h("time", { datetime: message.timestamp }, messageTime(message.timestamp)));
}

function content(message) {
  if (!message.content) return null;
  return h("div.text", { testid: "message-text" }, markdown(message.content),
    message.edited_timestamp ? h("span.edited", { title: messageTime(message.edited_timestamp) }, " (edited)") : null);
}

function thinking() {
  return h("div.thinking", { testid: "thinking", role: "status" },
    h("span.dots", { "aria-hidden": "true" }, h("i"), h("i"), h("i")), `${store.bot.name} is thinking…`);
}

/** The line above a message: the command that was used, or the message replied to. */
function origin(message) {
  const used = message.interaction_metadata;
  if (message.interaction_name && used) {
    const user = person(used.user);
    return h("div.origin", { testid: "interaction-header" }, h("span.spine"), avatar(user, 16),
      nameOf(user), " used ", h("span.command-name", {}, `${message.type === 20 ? "/" : ""}${message.interaction_name}`));
  }
  if (message.message_reference) {
    const target = message.referenced_message;
    if (!target) return h("div.origin", {}, h("span.spine"), h("em", {}, "Original message was deleted"));
    const user = person(target.author);
    const text = plain(target.content) || (target.attachments.length ? "Click to see attachment" : "Click to see message");
    return h("div.origin", { testid: "reply-reference" }, h("span.spine"), avatar(user, 16), nameOf(user),
      user.bot ? h("span.app-badge", {}, "APP") : null,
      h("button.reply-preview", { onclick: () => jumpTo(target.id) }, inline(text.slice(0, 120))));
  }
  return null;
}

function nameOf(user) {
  const name = h("span.origin-name", {}, user.name);
  const color = nameColor(user.id);
  colored(name, color);
  return name;
}

/** Bring a message into view and let it light up for a moment. */
export function jumpTo(id) {
  const row = document.querySelector(`[data-message="${id}"]`);
  row?.scrollIntoView({ block: "center" });
  row?.classList.add("flash");
  setTimeout(() => row?.classList.remove("flash"), 1200);
}

function reactions(message) {
  if (!message.reactions?.length) return null;
  return h("div.reactions", {}, message.reactions.map((item) => h("span.reaction", {}, item.emoji.name, " ", item.count)));
}

function onlyYou(dismiss) {
  return h("div.only-you", {}, "Only you can see this • ",
    h("button.link-button", { onclick: dismiss, testid: "dismiss" }, "Dismiss message"));
}

function toolbar(message, actions) {
  if (isEphemeral(message)) return null;
  return h("div.toolbar", {},
    h("button", { "aria-label": "Reply", title: "Reply", onclick: () => actions.reply(message), testid: "reply" }, icon("reply", 18)),
    h("button", { "aria-label": "More", title: "More", onclick: (event) => actions.context(event, { message }), testid: "more" }, "⋯"));
}

/** A command that the bot has not answered yet, or never will. */
function waitingRow(id, waiting, actions) {
  return h("article.message.ephemeral", { testid: waiting.failed ? "did-not-respond" : "sending", "data-interaction": id },
    h("div.origin", {}, h("span.spine"), avatar(store.me, 16), h("span.origin-name", {}, store.me.name), " used ",
      h("span.command-name", {}, `${waiting.slash ? "/" : ""}${waiting.name}`)),
    h("div.message-body", {}, avatar(store.bot),
      h("div.message-content", {},
        h("div.message-header", {}, h("span.author", {}, store.bot.name), h("span.app-badge", {}, "APP")),
        waiting.failed
          ? h("div.failed", { role: "alert" }, icon("warning", 16), " The application did not respond")
          : h("div.thinking", { role: "status" }, h("span.dots", { "aria-hidden": "true" }, h("i"), h("i"), h("i")), "Sending command…"),
        waiting.failed ? onlyYou(() => actions.forget(id)) : null)));
}

