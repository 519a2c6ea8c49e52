/** News that can be put away. */
import { useState } from 'react';

/** Whether this text was not put away yet, and what puts it away. The same text counts anew once there was another. */
export function useUnread(text: string): readonly [boolean, () => void] {
  const [read, setRead] = useState<string | null>(null);
  if (read !== null && read !== text) {
    setRead(null);
  }
  return [read !== text, () => setRead(text)];
}
