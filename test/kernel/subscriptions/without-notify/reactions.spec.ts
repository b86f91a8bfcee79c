// NOTIFY makes subscriptions quicker and nothing else: all that holds of them holds when every notification is lost.
import { settings } from '../../support';
import '../reactions.spec';

settings.notify = false;
