def main():
    print("ran")


if __name__ == "__main__":
    main()
