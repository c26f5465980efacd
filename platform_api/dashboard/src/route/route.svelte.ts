/** Holds the view that is shown and keeps the address bar equal to it. */
import { read, write, type Place, type View } from "./address";

class Route {
  view = $state<View>(read(location.hash));

  start(): () => void {
    const follow = () => (this.view = read(location.hash));
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }

  /** Changes part of the view; `silently` leaves no step in the browser's history. */
  go(part: Partial<View>, silently = false): void {
    this.view = { ...this.view, ...part };
    const hash = write(this.view);
    if (hash === location.hash) return;
    if (silently) history.replaceState(null, "", hash);
    else history.pushState(null, "", hash);
  }

  link(place: Place): string {
    return write({ ...this.view, place, device: null, at: null });
  }
}

export const route = new Route();
