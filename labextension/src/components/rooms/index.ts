/** Rooms: messages of several agents, live. */
export { RoomsView } from './RoomsView';
