/** The checkpoints of a session: looked at, brought back, gone on from. */
export { CheckpointsSheet } from './CheckpointsSheet';
