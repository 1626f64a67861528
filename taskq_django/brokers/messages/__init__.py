"""Jobs in an engine beside the store: a MessageBroker is the store's rows and a transport."""
