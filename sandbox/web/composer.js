/** Where a user writes: messages, and with / the commands. */

import { bytes, fill, h, icon } from "./dom.js";
import { CommandForm } from "./command_form.js";
import { flatten } from "./options.js";
import { Palette } from "./palette.js";
import { channel, person, store } from "./store.js";

export class Composer {
  /** actions: {send(content, files, replyTo), command(entry, options, files), autocomplete(entry, option, typed, options)} */
  constructor(place, actions) {
    this.place = place;
    this.actions = actions;
    this.files = [];
    this.replyTo = null;
    this.form = null;
    this.palette = new Palette();
    this.error = h("div.composer-error", { role: "alert", testid: "composer-error", hidden: true });
    this.tray = h("div.tray", { testid: "upload-tray", hidden: true });
    this.reply = h("div.replying", { hidden: true });
    this.input = h("textarea.composer-input", {
      rows: 1, testid: "composer-input", "aria-label": "Message", autocomplete: "off", spellcheck: "false",
      oninput: () => this.typed(), onkeydown: (event) => this.key(event), onpaste: (event) => this.pasted(event),
    });
    this.picker = h("input.visually-hidden", {
      type: "file", multiple: true, tabindex: "-1", "aria-label": "Attach files", testid: "composer-file",
      onchange: () => this.addFiles([...this.picker.files]),
    });
    this.row = h("div.composer-row", {},
      h("button.round.attach", { type: "button", "aria-label": "Upload a file", title: "Upload a file", onclick: () => this.picker.click() }, icon("plus", 22)),
      this.picker, this.input,
      h("button.round.send", { type: "button", "aria-label": "Send", testid: "send-button", onclick: () => this.submit() }, icon("send", 20)));
    this.box = h("div.composer-box", {}, this.reply, this.tray, this.row);
    fill(place, this.palette.element, this.error, this.box, h("div.typing", { testid: "typing", "aria-live": "polite" }));
    for (const kind of ["dragover", "drop", "dragleave"]) document.addEventListener(kind, (event) => this.dragged(event));
  }

  /** The channel changed: an empty field with its name. */
  reset() {
    this.leaveCommand();
    this.files = [];
    this.setReply(null);
    this.input.value = "";
    this.palette.close();
    this.complain(null);
    const here = channel();
    const words = !here ? "" : here.type === 15 ? "This forum has posts only" : !store.maySend ? "You do not have permission to send messages in this channel."
      : `Message ${here.type === 1 ? `@${here.name}` : here.type === 0 ? `#${here.name}` : here.name}`;
    this.input.placeholder = words;
    this.input.disabled = !store.maySend;
    this.box.classList.toggle("closed", !store.maySend);
    this.drawTray();
    this.grow();
  }

  focus() {
    if (matchMedia("(pointer: fine)").matches) this.input.focus();
  }

  complain(words) {
    this.error.hidden = !words;
    this.error.textContent = words ?? "";
  }

  setReply(message) {
    this.replyTo = message;
    this.reply.hidden = !message;
    if (!message) return;
    fill(this.reply, "Replying to ", h("strong", {}, person(message.author).name), h("span.spring"),
      h("button.round", { type: "button", "aria-label": "Cancel reply", onclick: () => this.setReply(null) }, icon("close", 16)));
    this.input.focus();
  }

  // -- messages ---------------------------------------------------------------------------------

  grow() {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight, 200)}px`;
  }

  typed() {
    this.grow();
    this.complain(null);
    const text = this.input.value;
    if (!text.startsWith("/") || text.includes("\n")) return this.palette.close();
    return this.offerCommands(text.slice(1));
  }

  offerCommands(query) {
    const wanted = query.toLowerCase().trim();
    const all = flatten(store.commands);
    const found = [...all.filter((entry) => entry.name.startsWith(wanted)), ...all.filter((entry) => !entry.name.startsWith(wanted) && entry.name.includes(wanted))];
    const space = query.endsWith(" ") && all.find((entry) => entry.name === wanted);
    if (space && found.length === 1) return this.enterCommand(space);
    return this.palette.show({
      title: found.length ? store.bot.name.toUpperCase() : store.bot.online ? "NO COMMANDS MATCHING" : "THE BOT IS NOT CONNECTED YET",
      avatar: found.length ? store.bot.avatar : null,
      items: found.map((entry) => ({
        testid: `command-${entry.name.replaceAll(" ", "-")}`,
        label: `/${entry.name}`, hint: entry.options.filter((option) => option.required).map((option) => option.name), description: entry.description,
        choose: () => this.enterCommand(entry),
      })),
      selectFirst: true,
    });
  }

  key(event) {
    if (event.isComposing) return;
    if (this.palette.key(event)) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.submit();
    } else if (event.key === "Escape") {
      this.palette.close();
      this.setReply(null);
    } else if (event.key === "ArrowUp" && !this.input.value) {
      document.querySelector(".message:last-of-type .message-content a, .message:last-of-type .message-content button")?.focus();
    }
  }

  async submit() {
    if (this.form) return this.form.submit();
    const content = this.input.value.trim();
    if (!content && !this.files.length) return undefined;
    if (content.startsWith("/") && !this.files.length) {
      const name = content.slice(1).split("\n")[0];
      const entry = flatten(store.commands).find((item) => name === item.name || name.startsWith(`${item.name} `));
      if (entry) return this.enterCommand(entry);
    }
    try {
      await this.actions.send(content, this.files, this.replyTo);
    } catch (refusal) {
      return this.complain(refusal.message);
    }
    this.input.value = "";
    this.files = [];
    this.setReply(null);
    this.drawTray();
    this.grow();
    return undefined;
  }

  // -- commands ---------------------------------------------------------------------------------

  enterCommand(entry) {
    this.palette.close();
    this.complain(null);
    this.form = new CommandForm(entry, this.palette, {
      submit: (options, files) => this.actions.command(entry, options, files),
      autocomplete: (option, typed, options) => this.actions.autocomplete(entry, option, typed, options),
      complain: (words) => this.complain(words),
      leave: () => this.leaveCommand(true),
    });
    this.input.hidden = true;
    this.row.querySelector(".attach").hidden = true;
    this.input.after(this.form.element);
    this.box.classList.add("in-command");
    this.box.prepend(this.form.drops);
    this.form.focusFirst();
    if (this.files.length) this.form.takeFiles(this.files.splice(0));
    this.drawTray();
  }

  leaveCommand(focus = false) {
    this.palette.close();
    if (!this.form) return;
    this.form.element.remove();
    this.form.drops.remove();
    this.form = null;
    this.input.hidden = false;
    this.input.value = "";
    this.row.querySelector(".attach").hidden = false;
    this.box.classList.remove("in-command");
    this.complain(null);
    this.grow();
    if (focus) this.input.focus();
  }

  // -- files ------------------------------------------------------------------------------------

  addFiles(files) {
    if (!files.length || !store.maySend) return;
    if (this.form) this.form.takeFiles(files);
    else this.files.push(...files);
    this.picker.value = "";
    this.drawTray();
  }

  pasted(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    this.addFiles(files);
  }

  dragged(event) {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    this.box.classList.toggle("dropping", event.type === "dragover");
    if (event.type === "drop") this.addFiles([...event.dataTransfer.files]);
  }

  drawTray() {
    this.tray.hidden = !this.files.length;
    fill(this.tray, this.files.map((file, index) => h("div.tray-card", {},
      filePreview(file), h("div.tray-name", { title: file.name }, file.name), h("small.muted", {}, bytes(file.size)),
      h("button.round.tray-remove", {
        type: "button", "aria-label": `Remove ${file.name}`, onclick: () => {
          this.files.splice(index, 1);
          this.drawTray();
        },
      }, icon("trash", 16)))));
  }
}

/** A picture of a file in the hand, or a sheet of paper. */
export function filePreview(file) {
  if (!/^image\/(png|jpeg|gif|webp)$/.test(file.type)) return h("div.tray-preview", {}, icon("file", 40));
  const url = URL.createObjectURL(file);
  return h("img.tray-preview", { src: url, alt: "", onload: () => URL.revokeObjectURL(url) });
}
