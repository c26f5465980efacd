/** Light or dark: the system's word until the viewer chooses. */
export type Theme = "light" | "dark";
export type Choice = Theme | "system";

const KEPT = "dure.theme";

class Appearance {
  choice = $state<Choice>("system");
  #system = $state<Theme>("light");
  current = $derived<Theme>(this.choice === "system" ? this.#system : this.choice);

  start(): void {
    const kept = localStorage.getItem(KEPT);
    if (kept === "light" || kept === "dark") this.choice = kept;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const read = () => {
      this.#system = dark.matches ? "dark" : "light";
      this.#apply();
    };
    dark.addEventListener("change", read);
    read();
  }

  toggle(): void {
    this.choice = this.current === "dark" ? "light" : "dark";
    localStorage.setItem(KEPT, this.choice);
    this.#apply();
  }

  #apply(): void {
    document.documentElement.dataset["theme"] = this.current;
    document.querySelector('meta[name="theme-color"]')?.setAttribute("content", this.current === "dark" ? "#0e1216" : "#f5f4f0");
  }
}

export const appearance = new Appearance();
