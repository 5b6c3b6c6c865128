/** The frame around the conversation: servers, channels, the account panel, the header, the members. */

import { avatar, colored, fill, h, icon } from "./dom.js";
import { channel, guild, member, nameColor, store } from "./store.js";

const byId = (id) => document.getElementById(id);

/** actions: {openGuild, openChannel, switchUser, setLocale, setInstalled, context, toggleTheme, toggleMembers} */
export function drawFrame(actions) {
  drawGuilds(actions);
  drawSidebar(actions);
  drawHeader(actions);
  drawMembers(actions);
}

function drawGuilds(actions) {
  const initials = (name) => name.split(/\s+/).map((word) => word[0]).join("").slice(0, 3);
  fill(byId("guilds"),
    guildButton("Direct messages", store.guildId === null, "guild-direct", () => actions.openGuild(null), icon("at", 24)),
    h("div.guild-line"),
    store.guilds.slice(0, 100).map((item) =>
      guildButton(item.name, item.id === store.guildId, `guild-${item.id}`, () => actions.openGuild(item.id), initials(item.name))));
}

function guildButton(name, current, testid, onclick, face) {
  return h(`button.guild${current ? ".current" : ""}`, { title: name, "aria-label": name, "aria-current": current ? "true" : null, testid, onclick }, face);
}

function drawSidebar(actions) {
  const here = guild();
  fill(byId("sidebar"),
    h("div.sidebar-title", {}, here ? here.name : "Direct messages"),
    h("div.channel-list", {}, here ? guildChannels(here, actions) : store.direct.map((item) => channelButton(item, item.name, item.type === 3 ? "people" : "at", actions))),
    accountPanel(actions));
}

function guildChannels(here, actions) {
  const top = here.channels.filter((item) => !isThread(item)).sort((a, b) => a.position - b.position);
  const rows = (parent) => top.filter((item) => item.parent_id === parent && item.type !== 4).map((item) => [
    channelButton(item, item.name, item.type === 15 ? "forum" : "hash", actions),
    here.channels.filter((thread) => isThread(thread) && thread.parent_id === item.id)
      .map((thread) => channelButton(thread, thread.name, "thread", actions, "thread-row")),
  ]);
  return [rows(null), top.filter((item) => item.type === 4).map((category) => [
    h("div.category", {}, icon("down", 12), category.name), rows(category.id),
  ])];
}

export const isThread = (item) => item.type === 10 || item.type === 11 || item.type === 12;

function channelButton(item, name, face, actions, extra = "") {
  const current = item.id === store.channelId;
  const classes = ["button.channel", current && "current", store.unread.has(item.id) && "unread", extra].filter(Boolean).join(".");
  return h(classes, { testid: `channel-${name}`, "aria-current": current ? "page" : null, onclick: () => actions.openChannel(item.id) },
    icon(face, 20), h("span", {}, name), item.nsfw ? h("span.age", { title: "Age-restricted" }, "18+") : null);
}

function accountPanel(actions) {
  const menu = h("div.account-menu", { role: "menu", hidden: true, testid: "account-menu", "aria-label": "Switch user" },
    h("div.account-menu-title", {}, "Switch user"),
    store.accounts.map((account) => h("button", {
      role: "menuitemradio", "aria-checked": account.id === store.me.id ? "true" : "false", testid: `account-${account.username}`,
      onclick: () => actions.switchUser(account.id),
    }, avatar(account, 32), h("span", {}, h("strong", {}, account.name), h("small", {}, account.role)))),
    h("label.account-locale", {}, "Language",
      h("select", { testid: "locale", onchange: (event) => actions.setLocale(event.target.value) },
        store.locales.map(({ locale, name }) => h("option", { value: locale, selected: locale === store.me.locale }, name)))),
    h("label.account-installed", {},
      h("input", { type: "checkbox", testid: "installed", checked: store.me.installed, onchange: (event) => actions.setInstalled(event.target.checked) }),
      `${store.bot.name} added to my account`));
  const control = h("button.account", {
    testid: "account-switcher", "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": `You are ${store.me.name}. Switch user`,
    onclick: () => toggle(menu.hidden),
  }, h("span.with-status", {}, avatar(store.me, 32), h("i.status.online")),
    h("span.account-name", {}, h("strong", {}, store.me.name), h("small", {}, store.me.username)), icon("swap", 18));
  const panel = h("div.account-panel", {
    onkeydown: (event) => {
      if (event.key === "Escape") {
        toggle(false);
        control.focus();
      }
      if (!menu.hidden && ["ArrowUp", "ArrowDown"].includes(event.key)) {
        event.preventDefault();
        const items = [...menu.querySelectorAll("button")];
        const at = items.indexOf(document.activeElement);
        items[(at + (event.key === "ArrowDown" ? 1 : -1) + items.length) % items.length].focus();
      }
    },
    onfocusout: (event) => event.relatedTarget && !panel.contains(event.relatedTarget) && toggle(false),
  }, menu, control,
    h("button.round", { "aria-label": "Switch between dark and light", title: "Dark or light", testid: "theme-toggle", onclick: actions.toggleTheme },
      icon(document.documentElement.dataset.theme === "dark" ? "sun" : "moon", 20)));

  function toggle(open) {
    menu.hidden = !open;
    control.setAttribute("aria-expanded", String(open));
    if (open) menu.querySelector('[aria-checked="true"]')?.focus();
  }
  return panel;
}

function drawHeader(actions) {
  const here = channel();
  const face = !here ? "hash" : here.type === 1 ? "at" : here.type === 3 ? "people" : isThread(here) ? "thread" : here.type === 15 ? "forum" : "hash";
  fill(byId("header"),
    h("button.round.menu-button", { "aria-label": "Channels", testid: "menu-button", onclick: actions.toggleSidebar }, icon("menu", 22)),
    h("span.header-icon", {}, icon(face, 22)),
    h("h1", { testid: "channel-title" }, here ? here.name : ""),
    here?.topic ? h("span.topic", {}, here.topic) : null,
    h("span.spring"),
    h(`span.bot-state${store.bot.online ? ".online" : ""}`, { testid: "bot-state", title: store.bot.online ? "The bot is connected" : "The bot is not connected" },
      h("i"), store.bot.online ? `${store.bot.name} is online` : `${store.bot.name} is offline`),
    h("button.round", { "aria-label": "Members", title: "Members", onclick: actions.toggleMembers }, icon("people", 22)));
}

function drawMembers(actions) {
  const here = guild();
  if (!here) return fill(byId("members"));
  const groups = new Map();
  const hoisted = here.roles.filter((role) => role.hoist).sort((a, b) => b.position - a.position);
  for (const { id } of here.members) {
    const role = hoisted.find((item) => member(id).roles.includes(item.id));
    const isOffline = id === store.bot.id && !store.bot.online;
    const name = isOffline ? "Offline" : role?.name ?? "Online";
    groups.set(name, [...(groups.get(name) ?? []), store.users.get(id)]);
  }
  const order = [...hoisted.map((role) => role.name), "Online", "Offline"].filter((name) => groups.has(name));
  return fill(byId("members"), order.map((name) => [
    h("h2", {}, `${name} — ${groups.get(name).length}`),
    groups.get(name).slice(0, 100).map((user) => memberRow(user, name === "Offline", actions)),
  ]));
}

function memberRow(user, offline, actions) {
  const name = h("span.member-name", {}, member(user.id)?.nick ?? user.name);
  const color = nameColor(user.id);
  colored(name, color);
  return h(`button.member${offline ? ".offline" : ""}`, {
    testid: `member-${user.username}`, onclick: (event) => actions.context(event, { user }), oncontextmenu: (event) => actions.context(event, { user }),
  }, h("span.with-status", {}, avatar(user, 32), h(`i.status${offline ? "" : ".online"}`)), name, user.bot ? h("span.app-badge", {}, "APP") : null);
}
