/** A slash command being filled in: its options as chips in the composer. */

import { filePreview } from "./composer.js";
import { bytes, fill, h, icon } from "./dom.js";
import { FILE, INTEGER, NUMBER, fixedChoices, kindName, readValue } from "./options.js";

const AUTOCOMPLETE_MS = 250;

export class CommandForm {
  /** hooks: {submit(options, files), autocomplete(option, typed, options), complain(words), leave()} */
  constructor(entry, palette, hooks) {
    this.entry = entry;
    this.palette = palette;
    this.hooks = hooks;
    this.chips = [];
    this.asked = 0;
    this.busy = false;
    this.list = h("div.chips");
    this.rest = h("button.more-options", { type: "button", testid: "more-options", onclick: () => this.offerRest() });
    this.drops = h("div.drops", { hidden: true });
    this.element = h("div.command-form", { testid: "command-form", onkeydown: (event) => this.key(event) },
      h("span.command-title", {}, `/${entry.name}`), this.list, this.rest);
    for (const option of entry.options) if (option.required) this.add(option);
    this.drawRest();
  }

  get missing() {
    return this.entry.options.filter((option) => !this.chips.some((chip) => chip.option === option));
  }

  add(option) {
    const chip = { option, text: "", choice: null, file: null };
    chip.problem = h("span.chip-problem", { role: "alert" });
    if (option.type === FILE) this.makeFileChip(chip);
    else this.makeTextChip(chip);
    this.chips.push(chip);
    this.list.append(chip.element);
    this.drawRest();
    this.drawDrops();
    return chip;
  }

  makeTextChip(chip) {
    const { option } = chip;
    chip.input = h("input.chip-input", {
      type: "text", size: 6, autocomplete: "off", spellcheck: "false", testid: `option-input-${option.name}`, "aria-label": `${option.name}: ${option.description}`,
      inputmode: option.type === INTEGER ? "numeric" : option.type === NUMBER ? "decimal" : null,
      oninput: () => this.changed(chip), onfocus: () => this.help(chip, true), onblur: () => this.palette.close(),
      onpaste: (event) => this.pasted(event),
    });
    chip.element = h("label.chip", { testid: `option-chip-${option.name}` }, h("span.chip-name", {}, option.name), chip.input);
  }

  makeFileChip(chip) {
    const { option } = chip;
    chip.input = h("input.visually-hidden", {
      type: "file", testid: `option-file-${option.name}`, "aria-label": `${option.name}: ${option.description}`,
      onchange: () => chip.input.files[0] && this.setFile(chip, chip.input.files[0]), onfocus: () => this.help(chip, true), onblur: () => this.palette.close(),
    });
    chip.label = h("span.chip-file", {}, "choose a file");
    chip.element = h("label.chip.file-chip", { testid: `option-chip-${option.name}` }, h("span.chip-name", {}, option.name), chip.input, chip.label);
  }

  setFile(chip, file) {
    chip.file = file;
    chip.label.textContent = file.name;
    this.clearProblem(chip);
    this.drawDrops();
    const next = this.chips.find((other) => other.option.type !== FILE && other.option.required && !other.input.value);
    (next ?? chip).input.focus();
  }

  /** Files dropped or pasted go to the attachment options that have none yet. */
  takeFiles(files) {
    for (const file of files) {
      let chip = this.chips.find((item) => item.option.type === FILE && !item.file);
      if (!chip) {
        const option = this.missing.find((item) => item.type === FILE);
        if (!option) return this.hooks.complain(`/${this.entry.name} takes no more files`);
        chip = this.add(option);
      }
      this.setFile(chip, file);
    }
    return undefined;
  }

  pasted(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    this.takeFiles(files);
  }

  drawDrops() {
    const chips = this.chips.filter((chip) => chip.option.type === FILE);
    this.drops.hidden = !chips.length;
    fill(this.drops, chips.map((chip) => h("button.drop", { type: "button", testid: `drop-${chip.option.name}`, onclick: () => chip.input.click() },
      h("span.drop-name", {}, chip.option.name),
      chip.file
        ? [filePreview(chip.file), h("span.tray-name", {}, chip.file.name), h("small.muted", {}, bytes(chip.file.size))]
        : [icon("upload", 32), h("span", {}, "Drag a file here"), h("small.muted", {}, "or press to choose, or paste")])));
  }

  drawRest() {
    const count = this.missing.length;
    this.rest.hidden = !count;
    this.rest.textContent = `+${count} optional`;
  }

  focusFirst() {
    const first = this.chips.find((chip) => chip.option.type !== FILE) ?? this.chips[0];
    if (first) first.input.focus();
    else if (this.missing.length) {
      this.rest.focus();
      this.offerRest();
    } else {
      this.element.tabIndex = 0;
      this.element.focus();
    }
  }

  // -- help above the field ---------------------------------------------------------------------

  changed(chip) {
    chip.text = chip.input.value;
    chip.choice = null;
    chip.input.size = Math.max(6, Math.min(chip.text.length + 1, 60));
    this.clearProblem(chip);
    this.hooks.complain(null);
    this.help(chip, false);
  }

  help(chip, fresh) {
    const { option } = chip;
    const title = `${option.name.toUpperCase()} — ${option.description}`;
    const asked = ++this.asked;
    if (option.autocomplete) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.complete(chip, title, asked), fresh ? 0 : AUTOCOMPLETE_MS);
      this.palette.show({ title, items: [], note: "Loading options…" });
      return;
    }
    const fixed = fixedChoices(option);
    if (fixed) {
      const typed = chip.choice ? "" : chip.text.toLowerCase();
      const found = fixed.filter((item) => item.name.toLowerCase().includes(typed));
      this.offer(chip, title, found, !chip.choice);
    } else this.palette.show({ title, items: this.restItems(), note: this.missing.length ? null : `Takes ${kindName(option)}. Enter sends the command.` });
  }

  async complete(chip, title, asked) {
    let choices;
    try {
      choices = await this.hooks.autocomplete(chip.option.name, chip.choice ? chip.choice.name : chip.text, this.read(false).options);
    } catch (refusal) {
      if (asked === this.asked) this.palette.show({ title, items: [], note: refusal.message });
      return;
    }
    if (asked === this.asked && document.activeElement === chip.input) this.offer(chip, title, choices, !chip.choice);
  }

  offer(chip, title, choices, selectFirst) {
    this.palette.show({
      title,
      items: choices.map((choice) => ({ label: String(choice.name), testid: "option-choice", choose: () => this.pick(chip, choice) })),
      note: choices.length ? null : "No options match your search",
      selectFirst,
    });
  }

  pick(chip, choice) {
    chip.choice = choice;
    chip.text = String(choice.name);
    chip.input.value = chip.text;
    chip.input.size = Math.max(3, Math.min(chip.text.length, 60));
    this.clearProblem(chip);
    const next = this.chips.find((other) => other.option.required && !other.text && !other.file);
    if (next) next.input.focus();
    else {
      chip.input.focus();
      this.asked++;
      this.palette.show({ title: this.missing.length ? "OPTIONS" : null, items: this.restItems(), note: this.missing.length ? null : "Enter sends the command." });
    }
  }

  restItems() {
    return this.missing.map((option) => ({
      testid: `command-option-${option.name}`, label: option.name, description: option.description,
      choose: () => this.add(option).input.focus(),
    }));
  }

  offerRest() {
    this.palette.show({ title: "OPTIONS", items: this.restItems(), selectFirst: true });
    this.rest.focus();
  }

  // -- keys and sending -------------------------------------------------------------------------

  key(event) {
    if (event.isComposing) return;
    if (this.palette.key(event)) return;
    const chip = this.chips.find((item) => item.input === event.target);
    if (event.key === "Escape") {
      event.stopPropagation();
      this.hooks.leave();
    } else if (event.key === "Enter" && event.target !== this.rest) {
      event.preventDefault();
      this.submit();
    } else if (event.key === "Backspace" && chip && !chip.text && !chip.file) {
      event.preventDefault();
      this.removeOrLeave(chip);
    }
  }

  removeOrLeave(chip) {
    if (chip.option.required) return this.hooks.leave();
    const at = this.chips.indexOf(chip);
    this.chips.splice(at, 1);
    chip.element.remove();
    this.drawRest();
    this.drawDrops();
    const before = this.chips[at - 1] ?? this.chips[0];
    return before ? before.input.focus() : this.focusFirst();
  }

  clearProblem(chip) {
    chip.problem.remove();
    chip.element.classList.remove("wrong");
  }

  /** The values so far, and (if asked to complain) the first chip with something wrong. */
  read(complain) {
    const options = {};
    const files = [];
    let wrong = null;
    for (const chip of this.chips) {
      const { value, problem } = readValue(chip.option, chip);
      if (problem) {
        if (complain) {
          chip.problem.textContent = problem;
          chip.element.append(chip.problem);
          chip.element.classList.add("wrong");
          wrong ??= chip;
        }
      } else if (value !== undefined) {
        if (chip.option.type === FILE) {
          if (complain) options[chip.option.name] = files.push(value) - 1;
        } else options[chip.option.name] = value;
      }
    }
    return { options, files, wrong };
  }

  async submit() {
    const { options, files, wrong } = this.read(true);
    if (wrong) return wrong.input.focus();
    if (this.busy) return undefined;
    this.busy = true;
    try {
      await this.hooks.submit(options, files);
    } catch (refusal) {
      return this.hooks.complain(refusal.message);
    } finally {
      this.busy = false;
    }
    return this.hooks.leave();
  }
}
