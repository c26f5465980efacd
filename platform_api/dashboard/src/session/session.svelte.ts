/** Who is signed in. `asking` until the platform has said whether the cookie still holds. */
import * as api from "../api/client";
import type { Account } from "../api/types";
import { language } from "../language/language.svelte";

class Session {
  state = $state<"asking" | "out" | "in" | "unreachable">("asking");
  account = $state<Account | null>(null);

  async ask(): Promise<void> {
    this.state = "asking";
    try {
      this.#enter((await api.session()).account);
    } catch (problem) {
      this.state = problem instanceof api.Problem && problem.status === 401 ? "out" : "unreachable";
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
    this.account = null;
    this.state = "out";
  }

  get mayAdmit(): boolean {
    return this.account?.role === "engineer" || this.account?.role === "admin";
  }

  #enter(account: Account): void {
    this.account = account;
    language.suggest(account.language);
    this.state = "in";
  }
}

export const session = new Session();
