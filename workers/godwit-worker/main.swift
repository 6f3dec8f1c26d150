import ArgumentParser

await WorkerCommand.main()
