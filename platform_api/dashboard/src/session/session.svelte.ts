/** Who is signed in. `asking` until the platform has said whether the cookie still holds. */
import * as api from "../api/client";
import type { Account } from "../api/types";
import { language } from "../language/language.svelte";

const KEPT = "dure.signed-in";

class Session {
  state = $state<"asking" | "out" | "in" | "unreachable">("asking");
  account = $state<Account | null>(null);

  /** Asks only where somebody has signed in before: a refusal would be a red line in the browser's console. */
  async ask(): Promise<void> {
    if (!localStorage.getItem(KEPT)) {
      this.state = "out";
      return;
    }
    this.state = "asking";
    try {
      this.#enter((await api.session()).account);
    } catch (problem) {
      this.state = problem instanceof api.Problem && problem.status === 401 ? "out" : "unreachable";
      if (this.state === "out") localStorage.removeItem(KEPT);
    }
  }

  async signIn(name: string, password: string): Promise<void> {
    this.#enter((await api.signIn(name, password)).account);
  }

  async signOut(): Promise<void> {
    await api.signOut().catch(() => undefined);
    this.end();
  }

  /** The platform no longer knows the cookie. */
  end(): void {
    localStorage.removeItem(KEPT);
    this.account = null;
    this.state = "out";
  }

  get mayAdmit(): boolean {
    return this.account?.role === "engineer" || this.account?.role === "admin";
  }

  #enter(account: Account): void {
    localStorage.setItem(KEPT, "yes");
    this.account = account;
    language.suggest(account.language);
    this.state = "in";
  }
}

export const session = new Session();
