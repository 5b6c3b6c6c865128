/** What the page knows. One object, changed by app.js, read by everybody. */

export const store = {
  me: null,
  accounts: [],
  locales: [],
  bot: null,
  users: new Map(),
  guilds: [],
  direct: [],
  guildId: null,
  channelId: null,
  messages: new Map(),
  commands: [],
  maySend: true,
  /** Interactions of this page that wait for their answer, by id: {kind, name, channelId, messageId, customId}. */
  pending: new Map(),
  /** Failed component interactions, by message id. */
  failed: new Set(),
  dismissed: new Set(),
  unread: new Set(),
};

export function take(state) {
  store.me = state.me;
  store.accounts = state.accounts;
  store.locales = state.locales;
  store.bot = state.bot;
  store.users = new Map(state.users.map((user) => [user.id, user]));
  store.guilds = state.guilds;
  store.direct = state.direct;
}

export const guild = () => store.guilds.find((item) => item.id === store.guildId) ?? null;

export function channels() {
  return [...store.guilds.flatMap((item) => item.channels), ...store.direct];
}

export const channel = (id = store.channelId) => channels().find((item) => item.id === id) ?? null;

export const member = (userId, inGuild = guild()) => inGuild?.members.find((item) => item.id === userId) ?? null;

/** The colour of a member's highest coloured role, or null. */
export function nameColor(userId) {
  const here = guild();
  const roles = here?.roles.filter((role) => member(userId)?.roles.includes(role.id) && role.color) ?? [];
  roles.sort((a, b) => b.position - a.position);
  return roles[0]?.color ?? null;
}

/** A person as messages name them: known to the sandbox, or as the message brings them. */
export function person(author) {
  const known = store.users.get(author.id);
  if (known) return { ...known, name: member(author.id)?.nick ?? known.name };
  return { id: author.id, name: author.global_name ?? author.username, username: author.username, bot: !!author.bot, avatar: "/cdn/embed/avatars/0.png" };
}
