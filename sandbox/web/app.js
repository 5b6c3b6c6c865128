/** The page: holds the parts together and changes the store when something happens. */

import { get, listen, post } from "./api.js";
import { Composer } from "./composer.js";
import { fill, h } from "./dom.js";
import { openMenu } from "./menu.js";
import { drawMessages, jumpTo, redraw } from "./messages.js";
import { openModal } from "./modal.js";
import { localized } from "./options.js";
import { drawFrame } from "./sidebar.js";
import { channel, guild, store, take } from "./store.js";
import { speak } from "./time.js";

const list = document.getElementById("messages");
const app = document.getElementById("app");
/** Interaction events that came before the post that made the interaction returned. */
const early = new Map();

const actions = {
  openGuild(id) {
    store.guildId = id;
    const here = guild();
    const first = here ? here.channels.filter((item) => item.type === 0).sort((a, b) => a.position - b.position)[0] : store.direct[0];
    if (first) openChannel(first.id);
  },
  openChannel: (id) => openChannel(id),
  async switchUser(id) {
    remember("user", id);
    store.me = { id };
    store.pending.clear();
    store.failed.clear();
    store.dismissed.clear();
    await reload();
    connect();
  },
  async setLocale(locale) {
    await post("locale", { locale });
    await reload();
  },
  async setInstalled(installed) {
    await post("installation", { installed });
    await reload();
  },
  toggleTheme() {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    remember("theme", theme);
    drawFrame(actions);
  },
  toggleSidebar: () => app.classList.toggle("sidebar-open"),
  toggleMembers: () => app.classList.toggle("members-toggled"),
  context,
  reply: (message) => composer.setReply(message),
  async dismiss(id) {
    store.dismissed.add(id);
    drawMessages(list, actions);
  },
  forget(id) {
    store.pending.delete(id);
    drawMessages(list, actions);
  },
  /** Press a button, or choose in a select (values). */
  async act(message, component, values) {
    store.failed.delete(message.id);
    const body = { channel_id: message.channel_id, message_id: message.id, custom_id: component.custom_id };
    if (values) Object.assign(body, { values, component_type: component.type });
    const waiting = { kind: "component", messageId: message.id, customId: component.custom_id };
    await start("components", body, [], waiting).catch((refusal) => composer.complain(refusal.message));
    redrawMessage(message.id);
  },
};

const composer = new Composer(document.getElementById("composer"), {
  send: (content, files, replyTo) => post("messages", { channel_id: store.channelId, content, message_id: replyTo?.id }, files),
  command: (entry, options, files) => start("commands", { channel_id: store.channelId, name: entry.name, options }, files,
    { kind: "command", slash: true, name: entry.name, channelId: store.channelId }),
  autocomplete: async (entry, option, typed, options) => {
    delete options[option];
    return (await post("autocomplete", { channel_id: store.channelId, name: entry.name, option, typed, options })).choices;
  },
});

/** Begin an interaction and wait for its events. */
async function start(path, body, files, waiting) {
  const { interaction_id: id } = await post(path, body, files);
  store.pending.set(id, waiting);
  const event = early.get(id);
  early.delete(id);
  if (event) settle(event);
  else if (waiting.kind === "command") drawMessages(list, actions, { jump: true });
}

/** An interaction was acknowledged or failed. */
function settle(event) {
  const waiting = store.pending.get(event.id);
  if (!waiting) {
    early.set(event.id, event);
    if (early.size > 50) early.delete(early.keys().next().value);
    return;
  }
  if (event.state === "failed") {
    waiting.failed = true;
    if (waiting.kind === "component") {
      store.pending.delete(event.id);
      store.failed.add(waiting.messageId);
    }
  } else store.pending.delete(event.id);
  if (event.modal && event.state === "acknowledged") {
    openModal(event.modal, (values, files) => start("modals", { interaction_id: event.id, values }, files, { ...waiting, kind: waiting.kind }));
  }
  if (waiting.kind === "component") redrawMessage(waiting.messageId);
  else drawMessages(list, actions);
}

function redrawMessage(id) {
  const message = store.messages.get(id);
  if (message) redraw(list, message, actions);
}

// -- events ---------------------------------------------------------------------------------------

let reloading = null;

function onEvent(event) {
  const handle = {
    message_create({ message }) {
      if (message.channel_id !== store.channelId) {
        store.unread.add(message.channel_id);
        return drawFrame(actions);
      }
      store.messages.set(message.id, message);
      clearTyping();
      return drawMessages(list, actions, { jump: message.author.id === store.me.id });
    },
    message_update({ message }) {
      if (!store.messages.has(message.id)) return;
      store.messages.set(message.id, message);
      if (!redraw(list, message, actions)) drawMessages(list, actions);
    },
    messages_delete({ ids }) {
      const gone = ids.filter((id) => store.messages.delete(id));
      if (gone.length) drawMessages(list, actions);
    },
    interaction: settle,
    typing({ channel_id, name }) {
      if (channel_id === store.channelId) showTyping(name);
    },
    presence({ online }) {
      store.bot.online = online;
      drawFrame(actions);
    },
    commands: () => refreshChannel(),
    state() {
      clearTimeout(reloading);
      reloading = setTimeout(async () => {
        take(await get("state"));
        speak(store.me.locale);
        drawFrame(actions);
      }, 50);
    },
    reload,
  }[event.type];
  handle?.(event);
}

function showTyping(name) {
  const place = document.querySelector(".typing");
  fill(place, h("span.dots", { "aria-hidden": "true" }, h("i"), h("i"), h("i")), h("strong", {}, name), " is typing…");
  clearTimeout(showTyping.timer);
  showTyping.timer = setTimeout(clearTyping, 8000);
}

const clearTyping = () => fill(document.querySelector(".typing"));

function connect() {
  listen(onEvent, (lost) => {
    app.classList.toggle("lost", lost);
    if (!lost) reload();
  });
}

// -- loading --------------------------------------------------------------------------------------

async function reload() {
  take(await get("state"));
  speak(store.me.locale);
  remember("user", store.me.id);
  if (!channel()) {
    store.guildId = store.guilds[0]?.id ?? null;
    store.channelId = guild()?.channels.find((item) => item.type === 0)?.id ?? store.direct[0].id;
  }
  await openChannel(store.channelId);
}

async function openChannel(id) {
  const moved = id !== store.channelId;
  store.channelId = id;
  store.guildId = channel()?.guild_id ?? null;
  store.unread.delete(id);
  app.classList.remove("sidebar-open");
  drawFrame(actions);
  await refreshChannel();
  drawMessages(list, actions, { jump: true });
  if (moved || !composer.form) composer.reset();
  composer.focus();
}

async function refreshChannel() {
  const wanted = store.channelId;
  const body = await get(`channels/${wanted}`);
  if (wanted !== store.channelId) return;
  store.messages = new Map(body.messages.map((message) => [message.id, message]));
  store.commands = body.commands.map((command) => localized(command));
  store.maySend = body.may_send;
  drawMessages(list, actions);
  if (composer.input.value.startsWith("/")) composer.typed();
}

// -- context menus --------------------------------------------------------------------------------

function context(event, { message, user }) {
  const kind = message ? 3 : 2;
  const apps = store.commands.filter((command) => command.type === kind).map((command) => ({
    label: command.label, testid: `context-command-${command.name}`,
    onclick: () => start("context", message ? { channel_id: message.channel_id, message_id: message.id, name: command.name }
      : { channel_id: store.channelId, target_id: user.id, name: command.name }, [],
    { kind: "command", slash: false, name: command.name, channelId: store.channelId }).catch((refusal) => composer.complain(refusal.message)),
  }));
  const entries = message ? [
    { label: "Reply", testid: "context-reply", onclick: () => actions.reply(message) },
    { label: "Copy text", onclick: () => navigator.clipboard?.writeText(message.content) },
    { label: "Copy message ID", onclick: () => navigator.clipboard?.writeText(message.id) },
  ] : [{ heading: user.name }, { label: "Copy user ID", onclick: () => navigator.clipboard?.writeText(user.id) }];
  if (message && message.author.id === store.me.id) {
    entries.push({ label: "Delete message", danger: true, testid: "context-delete",
      onclick: () => post("messages/delete", { channel_id: message.channel_id, message_id: message.id }).catch((refusal) => composer.complain(refusal.message)) });
  }
  if (apps.length) entries.push(null, { heading: "Apps" }, ...apps);
  openMenu(event, entries);
}

// -- beginning ------------------------------------------------------------------------------------

function remember(key, value) {
  sessionStorage.setItem(`sandbox.${key}`, value);
}

/** Links to channels and messages lead there within the page, as in Discord's client. */
document.addEventListener("click", async (event) => {
  const link = event.target.closest?.("a[data-channel]");
  if (!link) return;
  event.preventDefault();
  if (channel(link.dataset.channel)) await openChannel(link.dataset.channel);
  if (link.dataset.message) jumpTo(link.dataset.message);
});
document.addEventListener("click", (event) => {
  const target = event.target.closest?.(".mention[data-channel]:not(a)");
  if (target && channel(target.dataset.channel)) openChannel(target.dataset.channel);
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, dialog, [role=menu], [role=listbox], button, a, .command-form");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.key.length !== 1) return;
  composer.input.focus();
});
document.querySelector(".columns").addEventListener("pointerdown", () => app.classList.remove("sidebar-open"));

const preferred = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
document.documentElement.dataset.theme = sessionStorage.getItem("sandbox.theme") ?? preferred;
const user = sessionStorage.getItem("sandbox.user");
if (user) store.me = { id: user };
try {
  await reload();
} catch {
  store.me = null;
  await reload();
}
connect();
app.dataset.ready = "true";
