/** Values of command options: what may be typed, what the list offers, what is sent. */

import { channels, guild, store } from "./store.js";

export const STRING = 3, INTEGER = 4, BOOLEAN = 5, USER = 6, CHANNEL = 7, ROLE = 8, MENTIONABLE = 9, NUMBER = 10, FILE = 11;

/** A command as a client of the user's language shows it; menus have no more than a label. */
export function localized(node, locale = store.me.locale) {
  const inner = (nodes) => nodes?.map((item) => localized(item, locale));
  return {
    ...node,
    label: node.name_localizations?.[locale] ?? node.name,
    description: node.description_localizations?.[locale] ?? node.description,
    options: inner(node.options),
    choices: node.choices?.map((choice) => ({ ...choice, name: choice.name_localizations?.[locale] ?? choice.name })),
  };
}

/** The commands as they are typed: sub-commands by their full name, with the options that take values. */
export function flatten(commands) {
  const found = [];
  const walk = (command, name, node) => {
    const nested = (node.options ?? []).filter((option) => option.type <= 2);
    if (nested.length) for (const option of nested) walk(command, `${name} ${option.name}`, option);
    else found.push({ name, description: node.description, options: node.options ?? [], command });
  };
  for (const command of commands) if (command.type === 1) walk(command, command.name, command);
  return found.sort((a, b) => a.name.localeCompare(b.name));
}

/** The fixed things an option offers: [{name, value}], or null if it is typed freely. */
export function fixedChoices(option) {
  if (option.choices?.length) return option.choices;
  const here = guild();
  const people = () => (here ? here.members.map(({ id }) => store.users.get(id)) : [store.me, store.bot]).map((user) => ({ name: `@${user.name}`, value: user.id }));
  const roles = () => (here?.roles ?? []).map((role) => ({ name: `@${role.name.replace(/^@/, "")}`, value: role.id }));
  switch (option.type) {
    case BOOLEAN: return [{ name: "True", value: true }, { name: "False", value: false }];
    case USER: return people();
    case ROLE: return roles();
    case MENTIONABLE: return [...people(), ...roles()];
    case CHANNEL: return channels().filter((item) => item.guild_id === store.guildId && item.type !== 4 && (!option.channel_types?.length || option.channel_types.includes(item.type)))
      .map((item) => ({ name: `#${item.name}`, value: item.id }));
    default: return null;
  }
}

/**
 * Read what stands in an option's field.
 * Gives {value} or {problem}; an empty optional field gives {}.
 */
export function readValue(option, { text, choice, file }) {
  if (option.type === FILE) {
    if (file) return { value: file };
    return option.required ? { problem: "This option is required. Choose a file." } : {};
  }
  if (choice) return { value: choice.value };
  const typed = text.trim();
  if (!typed) return option.required ? { problem: "This option is required. Specify a value." } : {};
  const fixed = fixedChoices(option);
  if (fixed) {
    const match = fixed.find((item) => item.name.toLowerCase() === typed.toLowerCase() || item.name.toLowerCase() === `@${typed.toLowerCase()}`);
    return match ? { value: match.value } : { problem: "Choose one of the list." };
  }
  if (option.type === INTEGER || option.type === NUMBER) {
    const number = Number(typed);
    if (!Number.isFinite(number) || (option.type === INTEGER && !Number.isInteger(number))) {
      return { problem: option.type === INTEGER ? "Type a whole number." : "Type a number." };
    }
    if (option.min_value !== undefined && number < option.min_value) return { problem: `At least ${option.min_value}.` };
    if (option.max_value !== undefined && number > option.max_value) return { problem: `At most ${option.max_value}.` };
    if (Math.abs(number) > 2 ** 53) return { problem: "That number is too large." };
    return { value: number };
  }
  const length = [...text].length;
  if (length < (option.min_length ?? 0)) return { problem: `At least ${option.min_length} characters.` };
  if (length > (option.max_length ?? 6000)) return { problem: `At most ${option.max_length ?? 6000} characters; these are ${length}.` };
  return { value: text };
}

/** A word about what an option takes, for its hint. */
export function kindName(option) {
  const range = [option.min_value, option.max_value].some((bound) => bound !== undefined)
    ? ` ${option.min_value ?? "…"}–${option.max_value ?? "…"}` : "";
  return { [INTEGER]: `whole number${range}`, [NUMBER]: `number${range}`, [BOOLEAN]: "true or false", [USER]: "a user", [CHANNEL]: "a channel",
    [ROLE]: "a role", [MENTIONABLE]: "a user or role", [FILE]: "a file" }[option.type] ?? "text";
}
