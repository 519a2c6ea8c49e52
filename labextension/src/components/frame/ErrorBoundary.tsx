/** A view that fails takes no other with it: it says what happened, and can be shown again. */
import React from 'react';

import { usePlatform, useTrans } from '../../platform';
import { Button, Card } from '../ui';

interface BoundaryProps {
  /** A change of it shows the children again. */
  at: string;
  children: React.ReactNode;
}

interface BoundaryState {
  error: Error | null;
  stack: string;
}

/** Catches what its children throw while they render. */
export class ErrorBoundary extends React.Component<BoundaryProps, BoundaryState> {
  override state: BoundaryState = { error: null, stack: '' };

  static getDerivedStateFromError(error: unknown): Partial<BoundaryState> {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }

  override componentDidCatch(_: unknown, info: React.ErrorInfo): void {
    this.setState({ stack: info.componentStack ?? '' });
  }

  override componentDidUpdate(before: BoundaryProps): void {
    if (before.at !== this.props.at && this.state.error !== null) {
      this.again();
    }
  }

  private again = (): void => this.setState({ error: null, stack: '' });

  override render(): React.ReactNode {
    const { error, stack } = this.state;
    return error === null ? this.props.children : <Failed error={error} stack={stack} onAgain={this.again} />;
  }
}

function Failed(props: { error: Error; stack: string; onAgain: () => void }): JSX.Element {
  const { error, stack, onAgain } = props;
  const { copy } = usePlatform();
  const trans = useTrans();
  const [copied, setCopied] = React.useState(false);
  const details = `${error.name}: ${error.message}\n${error.stack ?? ''}\n${stack}`;
  return (
    <Card
      tone="error"
      role="alert"
      className="jp-Postdoc-Failed"
      title={trans.__('This view could not be shown.')}
      actions={
        <>
          <Button icon="refresh" onClick={onAgain}>
            {trans.__('Show again')}
          </Button>
          <Button
            icon={copied ? 'check' : 'copy'}
            onClick={() => void copy(details).then(() => setCopied(true))}
          >
            {copied ? trans.__('Copied') : trans.__('Copy details')}
          </Button>
        </>
      }
    >
      <p>{trans.__('The agent and its work are not affected.')}</p>
      <code className="jp-Postdoc-Command">{error.message || error.name}</code>
    </Card>
  );
}
