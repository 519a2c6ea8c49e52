/** Paths as agents write them: relative to the project that they work in. */

/** The path below the server's root, or null when it leads out of it. `project` is null when there is no project. */
export function inProject(path: string, project: string | null): string | null {
  const relative = path.replace(/^\.\//, '');
  const root = project?.replace(/\/+$/, '') ?? '';
  const whole =
    root === '' || relative === root || relative.startsWith(`${root}/`) ? relative : `${root}/${relative}`;
  const parts: string[] = [];
  for (const part of whole.split('/')) {
    if (part === '..') {
      if (parts.length === 0) {
        return null;
      }
      parts.pop();
    } else if (part !== '' && part !== '.') {
      parts.push(part);
    }
  }
  return parts.length > 0 ? parts.join('/') : null;
}
