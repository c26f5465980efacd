/** The language in use: the viewer's choice, else the account's, else the browser's. Texts come from the typed dictionaries. */
import type { Label, Tongue } from "../api/types";
import { en, type Key } from "./en";
import { ko } from "./ko";

const KEPT = "dure.language";
const dictionaries = { en, ko };

const isTongue = (text: unknown): text is Tongue => text === "ko" || text === "en";

class Language {
  current = $state<Tongue>("ko");
  #chosen = false;

  start(): void {
    const kept = localStorage.getItem(KEPT);
    this.#chosen = isTongue(kept);
    this.#set(isTongue(kept) ? kept : navigator.language.startsWith("ko") ? "ko" : "en");
  }

  /** The account's language counts only while the viewer has not chosen one. */
  suggest(tongue: string | null): void {
    if (!this.#chosen && isTongue(tongue)) this.#set(tongue);
  }

  choose(tongue: Tongue): void {
    this.#chosen = true;
    localStorage.setItem(KEPT, tongue);
    this.#set(tongue);
  }

  toggle(): void {
    this.choose(this.current === "ko" ? "en" : "ko");
  }

  #set(tongue: Tongue): void {
    this.current = tongue;
    document.documentElement.lang = tongue;
  }
}

export const language = new Language();

/** The text of `key` in the language in use, with `{name}` replaced. */
export function t(key: Key, filled: Record<string, string | number> = {}): string {
  return dictionaries[language.current][key].replace(/\{(\w+)\}/g, (_, name: string) => String(filled[name] ?? ""));
}

/** A label that came from a profile or a device; the other tongue stands in for a missing one. */
export function said(label: Label | null | undefined, otherwise = ""): string {
  if (!label) return otherwise;
  return label[language.current] || label.en || label.ko || otherwise;
}
