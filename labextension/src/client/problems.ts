/** Failures as sentences. */
import type { Problem } from '../model';
import { recordOf, textIn } from '../store/parts';

/** The connection was gone for longer than a command waits. */
export const NOT_SENT: Problem = {
  code: 'offline',
  error: 'Not sent.',
  next: 'It was not carried out: there is no connection to the server. Try again.',
  retryable: true
};

/** It was sent, and then the connection went away before an answer came. */
export const NO_ANSWER: Problem = {
  code: 'offline',
  error: 'No answer.',
  next: 'The connection was lost, so it may or may not have been carried out. Trying again does it only once.',
  retryable: true
};

/** Larger than the server takes. */
export const TOO_LARGE: Problem = {
  code: 'too_large',
  error: 'This is too long to be sent.',
  next: 'Put long text into a file and name the file.',
  retryable: false
};

/** The login is no longer valid. */
export const EXPIRED: Problem = {
  code: 'unauthorized',
  error: 'Your Jupyter login expired. Reload the page.',
  next: 'What was running goes on.',
  retryable: false
};

/** Jupyter answers, the extension does not. */
export const MISSING: Problem = {
  code: 'not_found',
  error:
    'The server part of this extension is not enabled. Run `jupyter server extension enable jupyterlab_postdoc`.',
  next: 'Then restart Jupyter.',
  retryable: true
};

/** The error object of an answer or a frame. */
export function problemOf(value: unknown, status = 0): Problem {
  const body = recordOf(value);
  return {
    code: textIn(body, 'code') || (status === 404 ? 'not_found' : 'internal'),
    error:
      textIn(body, 'error') || textIn(body, 'message') || `The server answered with ${status || 'an error'}.`,
    next: textIn(body, 'next'),
    retryable: body.retryable === true,
    ...(Object.keys(body).length > 0 ? { details: body } : {})
  };
}
