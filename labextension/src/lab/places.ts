/** The places where sessions are shown: the panel and the tabs. */
import type { Navigation } from '../navigation';

export interface Place {
  readonly navigation: Navigation;
  /** Whether a person can see it now. */
  readonly isVisible: boolean;
  focusInput(): void;
}

/** Which sessions are in view, and which one is meant by "the current session". */
export class Places {
  private readonly places: Place[] = [];

  /** Call the result when the place is gone. */
  add(place: Place): () => void {
    this.places.push(place);
    return () => {
      const at = this.places.indexOf(place);
      if (at >= 0) {
        this.places.splice(at, 1);
      }
    };
  }

  /** The place was used: its session is the current one. */
  touch(place: Place): void {
    const at = this.places.indexOf(place);
    if (at > 0) {
      this.places.splice(at, 1);
      this.places.unshift(place);
    }
  }

  /** Whether the session can be seen now. */
  shows(session: string): boolean {
    return this.places.some(place => sessionOf(place) === session && place.isVisible);
  }

  /** The place that a person can see and has used last. */
  active(): Place | null {
    return this.places.find(place => place.isVisible) ?? null;
  }

  /** The session used last: that of the place used last which shows one, visible places first. */
  current(): string | null {
    const visible = this.places.find(place => place.isVisible && sessionOf(place) !== null);
    const any = visible ?? this.places.find(place => sessionOf(place) !== null);
    return any === undefined ? null : sessionOf(any);
  }
}

function sessionOf(place: Place): string | null {
  const route = place.navigation.get();
  return route.view === 'session' ? route.id : null;
}
