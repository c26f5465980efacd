/** Holds the view that is shown and keeps the address bar equal to it. */
import { HOME, read, write, type Place, type View } from "./address";

class Route {
  view = $state<View>(read(location.hash));

  start(): () => void {
    const follow = () => (this.view = read(location.hash));
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }

  /**
   * Changes part of the view; `silently` leaves no step in the browser's history. The address bar is asked what the
   * view is: it may already be another, of which `hashchange` has not told yet.
   */
  go(part: Partial<View>, silently = false): void {
    this.view = { ...read(location.hash), ...part };
    const hash = write(this.view);
    if (hash === location.hash) return;
    if (silently) history.replaceState(null, "", hash);
    else history.pushState(null, "", hash);
  }

  /** The address of a place, keeping what narrows the city; `part` says what else it shows. */
  link(place: Place, part: Partial<View> = {}): string {
    const { municipality, kind, state, span, m } = this.view;
    return write({ ...HOME, municipality, kind, state, span, m, ...part, place });
  }
}

export const route = new Route();
