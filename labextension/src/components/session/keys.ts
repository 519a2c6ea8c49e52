/** What the keys of the composer do. */

export interface Key {
  readonly key: string;
  readonly shiftKey: boolean;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly isComposing: boolean;
  /** 229 while an input method works, in browsers that say so only there. */
  readonly keyCode?: number;
}

/** Which key sends. An input method that composes a word needs Enter for itself. */
export function sends(key: Key, withShift: boolean): boolean {
  if (key.key !== 'Enter' || key.isComposing || key.keyCode === 229) {
    return false;
  }
  return key.ctrlKey || key.metaKey || key.shiftKey === withShift;
}

/** The key of React's event. */
export function keyOf(event: React.KeyboardEvent): Key {
  const { key, shiftKey, ctrlKey, metaKey, nativeEvent } = event;
  return {
    key,
    shiftKey,
    ctrlKey,
    metaKey,
    isComposing: nativeEvent.isComposing,
    keyCode: nativeEvent.keyCode
  };
}
